"""The store keeps what it is given, knows what is measured, and finds it by an index."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from suite.records import Records
from suite.store import queries
from suite.store.leases import GONE_SECONDS
from suite.store.opening import REVISION
from suite.store.tables import IterationRow, RunRow, Table
from tests.suite.stores import MACHINE, begin, evaluations, finished, fisher, iterations, kept, matrix_of, rows

if TYPE_CHECKING:
    from pathlib import Path

    from suite.store import Store


def test_migrations_lead_to_the_tables_that_are_mapped(store: Store) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    context = MigrationContext.configure(store.session.connection())
    assert context.get_current_revision() == REVISION
    assert compare_metadata(context, Table.metadata) == []


def test_the_revision_is_the_newest_migration() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "suite.store:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


def test_records_come_back_as_they_were(store: Store, tmp_path: Path) -> None:
    cell = matrix_of(tmp_path).cells[0]
    errors = [fisher("linear2", 30, 0.5, 0.6, 0.4, 0.45), fisher("linear1", 30, math.nan, 0.7, 0.1, 0.2)]
    ranks = [kept("linear2", 20, 5, 3), kept("linear1", 40, 65, 16, 0.0), kept("linear2", 40, 6, 0, 0.25)]
    evaluated = [row._replace(cpu_seconds=1.25 * row.seconds) for row in evaluations([30.0, math.nan])]
    run = finished(store, cell, Records(iterations(3), evaluated, errors, ranks))
    steps = store.session.execute(sa.select(IterationRow.__table__).order_by("iteration")).all()
    assert [tuple(row) for row in steps] == [(run, *row) for row in iterations(3)]
    found = queries.evaluations(store, run)
    assert (found.seconds[1], found.cpu_seconds[1]) == (0.2, 0.25)
    assert found.train_loss[0] == 30.0
    assert math.isnan(found.train_loss[1])
    assert list(found.iteration) == [0, 20]
    first, second = sorted(queries.fisher_errors(store, run), reverse=True)
    assert first == errors[0]
    assert math.isnan(second.in_batch)
    assert second.held_out == 0.7
    assert queries.inverse_ranks(store, run) == ranks
    assert queries.inverse_ranks(store, run + 1) == []


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_numbers_are_numbers_and_nan_is_null(store: Store, url: str, tmp_path: Path) -> None:
    broken = iterations(1)[0]._replace(loss=math.nan)
    ranks = [kept("linear1", 1, 5, 3, math.nan)]
    run = finished(store, matrix_of(tmp_path).cells[0], Records([broken], evaluations([1.0]), [], ranks))
    assert rows(url, "SELECT typeof(iteration), typeof(seconds), typeof(loss) FROM iterations") == [
        ("integer", "real", "null")
    ]
    assert rows(url, "SELECT typeof(seed), typeof(pixels), typeof(floor) FROM runs") == [("integer", "integer", "real")]
    assert rows(url, "SELECT typeof(inputs), typeof(width_out), typeof(bound) FROM inverse_ranks") == [
        ("integer", "integer", "null")
    ]
    assert math.isnan(queries.inverse_ranks(store, run)[0].bound)


def test_what_is_flushed_can_be_read_while_the_writer_writes(store: Store, url: str, tmp_path: Path) -> None:
    run = begin(store, matrix_of(tmp_path).cells[0])
    store.append(run, Records(iterations(5), [], []))
    assert rows(url, "SELECT count(*) FROM iterations") == [(0,)]
    store.flush()
    assert rows(url, "SELECT count(*) FROM iterations") == [(5,)]
    assert rows(url, "SELECT status FROM runs") == [("running",)]


def test_only_done_and_diverged_runs_count_and_the_latest_wins(store: Store, tmp_path: Path) -> None:
    cells = matrix_of(tmp_path).cells
    keys = [cell.key for cell in cells]
    records = Records(iterations(2), [], [])
    for cell, status in zip(cells, ("done", "diverged", "error", "interrupted", "oom", "timeout"), strict=False):
        finished(store, cell, records, status)
    assert set(store.measured(keys, "sources")) == {keys[0], keys[1]}
    assert store.with_result(keys, "sources") == {keys[0], keys[1]}
    assert store.with_result(keys[1:], "sources") == {keys[1]}
    assert store.latest(keys)[keys[3]].status == "interrupted"
    again = finished(store, cells[0], records)
    assert store.measured(keys, "sources")[keys[0]].id == again
    finished(store, cells[0], records, "error")
    assert store.measured(keys, "sources")[keys[0]].id == again, "a later failure takes no result away"
    store._update(again, started_at=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    assert store.measured(keys, "sources")[keys[0]].id < again, "the latest by its start, whatever its number"


def test_results_of_other_sources_count_only_where_any_may(store: Store, tmp_path: Path) -> None:
    cell = matrix_of(tmp_path).cells[0]
    finished(store, cell, Records(iterations(1), [], []), fingerprint="older")
    assert store.measured([cell.key], "newer") == {}
    assert store.with_result([cell.key], "newer") == set()
    assert cell.key in store.measured([cell.key], None)
    assert store.with_result([cell.key], None) == {cell.key}


def test_environment_and_experiment_are_stored_once(store: Store) -> None:
    assert store.environment(MACHINE) == store.environment(MACHINE)
    assert store.environment(replace(MACHINE, torch="3.0")) != store.environment(MACHINE)
    assert store.experiment("a", "text") == store.experiment("a", "text") != store.experiment("a", "other")


def test_runs_of_a_dead_process_are_swept_and_those_at_work_are_not(store: Store, tmp_path: Path) -> None:
    cells = matrix_of(tmp_path).cells
    mine, dead, distant, silent = (begin(store, cell) for cell in cells[:4])
    for run in (dead, distant, silent):
        store._running.pop(run)
    soon = dt.datetime.now(dt.UTC)
    store._update(dead, owner_pid=2**22 + 1, heartbeat_at=soon - dt.timedelta(seconds=GONE_SECONDS + 1))
    store._update(distant, owner_host="elsewhere", heartbeat_at=soon)
    store._update(silent, owner_host="elsewhere", heartbeat_at=soon - dt.timedelta(minutes=5))
    assert store.sweep() == 2
    status = {row.id: row.status for row in store.session.execute(sa.select(RunRow.id, RunRow.status))}
    assert [status[run] for run in (mine, dead, distant, silent)] == [
        "running",
        "interrupted",
        "running",
        "interrupted",
    ]


def test_a_swept_run_ended_at_its_last_sign_of_life(store: Store, url: str, tmp_path: Path) -> None:
    run = begin(store, matrix_of(tmp_path).cells[0])
    del store._running[run]
    seen = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
    store._update(run, heartbeat_at=seen)
    assert store.sweep() == 1
    assert rows(url, "SELECT status FROM runs WHERE ended_at = heartbeat_at") == [("interrupted",)]


def test_a_flush_stamps_the_heartbeat(store: Store, url: str, tmp_path: Path) -> None:
    run = begin(store, matrix_of(tmp_path).cells[0])
    old = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    store._update(run, heartbeat_at=old)
    store.flush()
    assert rows(url, "SELECT count(*) FROM runs WHERE heartbeat_at > '2021-01-01'") == [(1,)]


def test_durations_are_means_over_the_seeds_of_a_group(store: Store, tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path)
    pair = [cell for cell in matrix.cells if cell.optimizer == "sgd"]
    for cell, seconds in zip(pair, (2.0, 4.0), strict=True):
        store._update(finished(store, cell, Records([], [], [])), wall_seconds=seconds)
        store._update(finished(store, cell, Records([], [], []), "error"), wall_seconds=0.1)
    assert store.durations() == {pair[0].group_key: 3.0}
    assert pair[0].group_key == pair[1].group_key


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_no_query_of_a_report_scans_a_big_table(store: Store, tmp_path: Path) -> None:
    cell = matrix_of(tmp_path).cells[0]
    run = finished(store, cell, Records(iterations(5), evaluations([1.0]), [fisher("a", 1, 1, 1, 1, 1)]))
    seen: list[tuple[str, object]] = []

    def listen(_c: object, _cu: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            seen.append((statement, parameters))

    engine = store.session.connection().engine
    sa.event.listen(engine, "before_cursor_execute", listen)
    store.measured([cell.key], "sources")
    store.latest([cell.key])
    queries.course(store, run)
    queries.evaluations(store, run)
    queries.fisher_errors(store, run)
    queries.inverse_ranks(store, run)
    sa.event.remove(engine, "before_cursor_execute", listen)
    assert len(seen) == 7
    for statement, parameters in seen:
        plan = store.session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
        assert not any(str(row[3]).startswith("SCAN") for row in plan), (statement, plan)


def test_a_course_averages_bins_and_adds_up_phases(store: Store, tmp_path: Path) -> None:
    run = finished(store, matrix_of(tmp_path).cells[0], Records(iterations(10), [], []))
    course = queries.course(store, run, bins=4)
    assert list(course.iteration) == [3, 6, 9, 10]
    losses = [row.loss for row in iterations(10)]
    assert course.loss[1] == pytest.approx(sum(losses[3:6]) / 3)
    assert course.loss[3] == pytest.approx(losses[9])
    assert course.iterations == 10
    assert course.total_seconds == pytest.approx(0.1)
    assert course.phases == pytest.approx(
        {"forward_backward": 0.05, "curvature": 0.02, "inversion": 0.01, "update": 0.02}
    )


def test_a_run_without_records_has_an_empty_course(store: Store, tmp_path: Path) -> None:
    course = queries.course(store, begin(store, matrix_of(tmp_path).cells[0]))
    assert (course.iterations, course.total_seconds, len(course.loss)) == (0, 0.0, 0)


def test_the_views_answer_on_every_database(store: Store, url: str, tmp_path: Path) -> None:
    for cell, seconds in zip(matrix_of(tmp_path).cells[:2], (0.01, 0.03), strict=True):
        finished(store, cell, Records(iterations(60, step=seconds), evaluations([40.0, 20.0]), []))
    found = rows(url, "SELECT optimizer, seeds, train_loss_mean, contended FROM leaderboard ORDER BY optimizer")
    assert [(seeds, loss, contended) for _, seeds, loss, contended in found] == [(1, 20.0, 0)] * 2
    assert rows(url, "SELECT count(*), max(train_loss) FROM curves") == [(4, 40.0)]
