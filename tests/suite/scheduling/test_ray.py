"""The Ray executor, on a cluster of two nodes on this machine, with GPUs that are simulated."""

from __future__ import annotations

import os
import signal
import subprocess
import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.suite.helpers import DEADLINE, SMALL, command, environment, wait_for, write_spec
from tests.suite.scheduling.test_faults import BEFORE_TRAINING, rows, statuses
from tests.suite.scheduling.test_slurm import LOSSES

if TYPE_CHECKING:
    from collections.abc import Iterator

if not os.environ.get("KFSVD_REQUIRE_RAY") and find_spec("ray") is None:  # importing it would take seconds
    pytest.skip("needs ray", allow_module_level=True)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # Ray's own

ROOT = Path(__file__).parents[3]
FOUR = SMALL.replace("seeds: [0, 1]", "seeds: [0]") + "scheduling: {slots_per_device: 2, ray: {max_retries: 1}}\n"

SIMULATED = """
    import sys
    if "default_worker" in " ".join(sys.orig_argv):
        import suite.scheduling.remote as remote

        def simulated():
            import ray, torch
            assert ray.get_gpu_ids(), "the task has no part of a GPU"
            return torch.device("cpu")

        remote.accelerator = simulated
"""
"""A GPU that a task is given is the CPU in disguise."""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that runs nothing, and a node with a GPU; the test may add others."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("XDG_CACHE_HOME", environment(tmp_path)["XDG_CACHE_HOME"])
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(SIMULATED))
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    found.add_node(num_cpus=1, num_gpus=1)
    yield found
    found.shutdown()


def start(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    with (folder / "output.txt").open("w") as output:
        return subprocess.Popen(
            command("run", "small.yaml", *options),
            cwd=folder,
            env=environment(folder) | {"PYTHONPATH": f"{folder}:{ROOT}"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def run(folder: Path, *options: str) -> tuple[int, str]:
    code = start(folder, *options).wait(DEADLINE)
    return code, (folder / "output.txt").read_text()


def sabotage(folder: Path, text: str) -> None:
    (folder / "sitecustomize.py").write_text(textwrap.dedent(SIMULATED) + textwrap.dedent(text))


def test_two_nodes_measure_what_local_workers_do_to_the_last_bit(cluster: Any, tmp_path: Path) -> None:
    cluster.add_node(num_cpus=1, num_gpus=1)
    write_spec(tmp_path, FOUR)
    code, output = run(tmp_path, "--executor", "ray", "--address", cluster.address)
    assert code == 0, output
    assert statuses(tmp_path) == dict.fromkeys(("sgd", "adam", "kfac", "kpsvd"), "done")
    found = rows(tmp_path, LOSSES)
    assert len(found) > 4 * 64
    (tmp_path / "kfsvd-bench.sqlite").unlink()
    code, output = run(tmp_path, "--devices", "sim:1")
    assert code == 0, output
    assert rows(tmp_path, LOSSES) == found


def test_cells_that_go_down_with_their_node_are_run_again_on_another(cluster: Any, tmp_path: Path) -> None:
    """Two cells share the one GPU; they die with its node while a second one comes up."""
    wait = """
        import suite.training.loop as training

        train = training.Training.__iter__

        def slowed(self):
            import time
            for records in train(self):
                yield records
                while not __import__("os").path.exists({!r}):
                    time.sleep(0.1)

        training.Training.__iter__ = slowed
    """
    sabotage(tmp_path, wait.format(str(tmp_path / "go on")))
    write_spec(tmp_path, FOUR.replace("iterations: 60", "iterations: 500"))
    process = start(tmp_path, "--executor", "ray", "--address", cluster.address)
    half = "SELECT count(*) = 2 FROM (SELECT run_id FROM iterations GROUP BY run_id)"
    wait_for(lambda: (tmp_path / "kfsvd-bench.sqlite").exists() and tables(tmp_path) and rows(tmp_path, half) == [(1,)])
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    cluster.add_node(num_cpus=1, num_gpus=1)
    (tmp_path / "go on").touch()
    assert process.wait(DEADLINE) == 0, (tmp_path / "output.txt").read_text()
    lost = rows(tmp_path, "SELECT error, (SELECT count(*) FROM iterations WHERE run_id = runs.id) FROM runs "
                "WHERE status = 'error'")  # fmt: skip
    assert len(lost) == 2
    assert all("run again, 1 of 1 times" in error and count > 0 for error, count in lost)
    assert rows(tmp_path, "SELECT count(*), count(DISTINCT cell_key) FROM runs WHERE status = 'done'") == [(4, 4)]
    assert rows(tmp_path, "PRAGMA integrity_check") == [("ok",)]


def tables(folder: Path) -> bool:
    return rows(folder, "SELECT count(*) FROM sqlite_schema WHERE name = 'inverse_ranks'") == [(1,)]


def test_a_cell_that_kills_its_worker_is_given_up_after_its_retries(cluster: Any, tmp_path: Path) -> None:
    sabotage(tmp_path, BEFORE_TRAINING.format("import os; os.kill(os.getpid(), 9)"))
    write_spec(tmp_path, FOUR)
    code, output = run(tmp_path, "--executor", "ray", "--address", cluster.address)
    assert code == 3, output
    found = rows(tmp_path, "SELECT status, error FROM runs WHERE optimizer = 'adam' ORDER BY id")
    assert [status for status, _ in found] == ["error", "error"]
    assert "run again, 1 of 1 times" in found[0][1]
    assert "given up after 2 attempts" in found[1][1]
    assert rows(tmp_path, "SELECT count(*) FROM runs WHERE status = 'done'") == [(3,)]
    assert "1 cells failed" in output


def test_ctrl_c_cancels_and_keeps_what_was_sent(cluster: Any, tmp_path: Path) -> None:
    write_spec(tmp_path, FOUR.replace("iterations: 60", "seconds: 1000"))
    process = start(tmp_path, "--executor", "ray", "--address", cluster.address)
    both = "SELECT count(*) = 2 FROM (SELECT run_id FROM iterations GROUP BY run_id)"
    wait_for(lambda: (tmp_path / "kfsvd-bench.sqlite").exists() and tables(tmp_path) and rows(tmp_path, both) == [(1,)])
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE) == 130, (tmp_path / "output.txt").read_text()
    assert [status for (status,) in rows(tmp_path, "SELECT status FROM runs")] == ["interrupted"] * 2
    assert rows(tmp_path, "SELECT count(*) > 20 FROM iterations") == [(1,)]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "--executor ray: no cluster at 127.0.0.1:1"),
        ("127.0.0.1:99999", "no cluster at 127.0.0.1:99999"),
        ("ray://127.0.0.1:10001", "choose auto, on a node of the cluster, or HOST:PORT"),
        ("somewhere", "choose auto, on a node of the cluster, or HOST:PORT"),
    ],
)
def test_an_address_without_a_cluster_is_said(address: str, message: str, tmp_path: Path) -> None:
    write_spec(tmp_path, FOUR)
    code, output = run(tmp_path, "--executor", "ray", "--address", address)
    assert code == 2, output
    assert message in output
    assert "Traceback" not in output
