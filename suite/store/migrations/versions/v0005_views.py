"""Two views for people: `leaderboard`, a row for each optimizer on each data set, and `curves`, its evaluations.

Both are of the latest run with a result of each cell and version of the sources. What must not be averaged together is
told apart: experiments, sources, settings under one label, and data that stood in for others. Portable SQL.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

LATEST = """
  SELECT max(id) FROM runs WHERE status IN ('done', 'diverged') GROUP BY cell_key, fingerprint
"""

CURVES = f"""
CREATE VIEW curves AS
SELECT
  experiments.name AS experiment,
  runs.fingerprint AS sources,
  runs.dataset,
  runs.problem,
  runs.optimizer,
  runs.group_key AS setting,
  runs.seed,
  runs.status,
  evaluations.iteration,
  evaluations.epoch,
  evaluations.seconds,
  evaluations.cpu_seconds,
  evaluations.train_loss,
  evaluations.test_loss,
  runs.id AS run
FROM evaluations
JOIN runs ON runs.id = evaluations.run_id
JOIN experiments ON experiments.id = runs.experiment_id
WHERE runs.id IN ({LATEST})
"""

# Losses are of the runs that did not diverge. A median is the mean of the middle one or two of n in order: those at
# the places p with n <= 2p <= n + 2. Runs without an iteration have no seconds, and are numbered apart.
LEADERBOARD = f"""
CREATE VIEW leaderboard AS
WITH ended AS (
  SELECT
    experiments.name AS experiment,
    runs.fingerprint AS sources,
    runs.dataset,
    runs.problem,
    runs.optimizer,
    runs.group_key AS setting,
    runs.status,
    runs.environment_id,
    runs.contended,
    runs.ended_at,
    CASE WHEN runs.status = 'done' THEN evaluations.train_loss END AS train_loss,
    CASE WHEN runs.status = 'done' THEN evaluations.test_loss END AS test_loss,
    iterations.iteration AS iterations,
    iterations.seconds / iterations.iteration AS seconds
  FROM runs
  JOIN experiments ON experiments.id = runs.experiment_id
  LEFT JOIN evaluations ON evaluations.run_id = runs.id
    AND evaluations.iteration = (SELECT max(e.iteration) FROM evaluations AS e WHERE e.run_id = runs.id)
  LEFT JOIN iterations ON iterations.run_id = runs.id
    AND iterations.iteration = (SELECT max(i.iteration) FROM iterations AS i WHERE i.run_id = runs.id)
  WHERE runs.id IN ({LATEST})
), numbered AS (
  SELECT
    ended.*,
    row_number() OVER (
      PARTITION BY experiment, sources, dataset, problem, optimizer, setting, seconds IS NULL
      ORDER BY seconds
    ) AS place,
    count(seconds) OVER (PARTITION BY experiment, sources, dataset, problem, optimizer, setting) AS timed
  FROM ended
)
SELECT
  experiment,
  sources,
  dataset,
  problem,
  optimizer,
  setting,
  count(*) AS seeds,
  sum(CASE WHEN status = 'diverged' THEN 1 ELSE 0 END) AS diverged,
  avg(train_loss) AS train_loss_mean,
  min(train_loss) AS train_loss_min,
  avg(test_loss) AS test_loss_mean,
  min(test_loss) AS test_loss_min,
  max(iterations) AS iterations,
  avg(CASE WHEN 2 * place >= timed AND 2 * place <= timed + 2 THEN seconds END) AS seconds_per_iteration,
  sum(CASE WHEN contended THEN 1 ELSE 0 END) AS contended,
  count(DISTINCT environment_id) AS environments,
  max(ended_at) AS last_run
FROM numbered
GROUP BY experiment, sources, dataset, problem, optimizer, setting
"""


def upgrade() -> None:
    op.execute(CURVES)
    op.execute(LEADERBOARD)
