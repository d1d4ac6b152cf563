"""Cells of SLURM's jobs are held in the store, and run again where their jobs are interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from suite.scheduling.shards import Limits, Shards, Submitted
from suite.scheduling.watch import Watch
from suite.spec.budget import Scheduling
from suite.store import open_store
from suite.store.leases import RESERVED, Owner
from suite.store.merging import fold
from tests.suite.helpers import DEADLINE, command, environment, wait_for, write_spec
from tests.suite.scheduling.test_faults import BEFORE_TRAINING, rows, statuses
from tests.suite.scheduling.test_slurm import GO_ON, ROOT, THREE, held, run, start, submitted
from tests.suite.stores import MACHINE, claim, matrix_of

if TYPE_CHECKING:
    from pathlib import Path

    from suite.cell import Cell
    from suite.store import Store

pytest.importorskip("submitit")

TOLD_TO_END = """
    import os, signal
    import suite.training.loop as training

    train = training.Training.__iter__

    def sabotaged(self):
        training.RECORD_SECONDS = 0.0
        for number, records in enumerate(train(self)):
            yield records
            if self.cell.optimizer == "adam" and number == 10 and {}:
                os.kill(os.getpid(), signal.SIGTERM)

    training.Training.__iter__ = sabotaged
"""
ADAM = "SELECT status, error FROM runs WHERE optimizer = 'adam' ORDER BY id"
ONCE = "SELECT count(*), count(DISTINCT cell_key), min(status), max(status) FROM runs"


@pytest.mark.slow
def test_a_cell_whose_job_is_told_to_end_is_run_again(tmp_path: Path) -> None:
    write_spec(tmp_path, THREE)
    once = f"not os.path.exists(p := {str(tmp_path / 'told')!r}) and open(p, 'w')"
    code, output = run(tmp_path, "--executor", "slurm", sabotage=TOLD_TO_END.format(once))
    assert code == 0, output
    assert rows(tmp_path, ADAM) == [("interrupted", None), ("done", None)]
    assert rows(tmp_path, "SELECT count(*) FROM runs") == [(4,)]
    assert submitted(tmp_path) == 4
    assert not list(tmp_path.glob("kfsvd-bench.shards/*/*.json")), "every job is collected"


@pytest.mark.slow
def test_a_cell_whose_jobs_are_always_told_to_end_has_no_result(tmp_path: Path) -> None:
    write_spec(tmp_path, THREE.replace("parallel: 2", "parallel: 2, max_retries: 1"))
    code, output = run(tmp_path, "--executor", "slurm", sabotage=TOLD_TO_END.format("True"))
    assert code == 3, output
    found = rows(tmp_path, ADAM)
    assert [status for status, _ in found] == ["interrupted", "error"]
    assert "given up after 2 attempts" in found[1][1]
    assert "1 cells failed" in output
    assert submitted(tmp_path) == 4


@pytest.mark.slow
@pytest.mark.parametrize("other", [["--executor", "slurm", "--shards", "others"], ["--devices", "sim:1"]])
def test_nothing_is_measured_twice_beside_another_command(tmp_path: Path, other: list[str]) -> None:
    write_spec(tmp_path, THREE)
    first = start(tmp_path, "--executor", "slurm", sabotage=held(tmp_path))
    wait_for(lambda: submitted(tmp_path) >= 2)
    with (tmp_path / "second.txt").open("w") as output:
        second = subprocess.Popen(
            command("run", "small.yaml", *other),
            cwd=tmp_path,
            env=environment(tmp_path) | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    wait_for(lambda: "other commands" in (tmp_path / "second.txt").read_text())
    (tmp_path / GO_ON).touch()
    outputs = [(tmp_path / name).read_text for name in ("output.txt", "second.txt")]
    assert (first.wait(DEADLINE), second.wait(DEADLINE)) == (0, 0), [read() for read in outputs]
    assert rows(tmp_path, ONCE) == [(3, 3, "done", "done")]


@pytest.mark.slow
def test_what_is_held_is_free_again_after_ctrl_c(tmp_path: Path) -> None:
    write_spec(tmp_path, THREE)
    process = start(tmp_path, "--executor", "slurm", sabotage=BEFORE_TRAINING.replace("adam", "sgd").format("pass"))
    wait_for(lambda: submitted(tmp_path) >= 1)
    held = f"SELECT status, device FROM runs WHERE device = '{RESERVED}'"
    assert set(rows(tmp_path, held)) == {("running", RESERVED)}
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE) == 130
    assert rows(tmp_path, held) == []
    code, output = run(tmp_path, "--executor", "slurm")
    assert code == 0, output
    assert rows(tmp_path, ONCE) == [(3, 3, "done", "done")]


@pytest.mark.slow
def test_no_job_begins_while_its_shard_is_folded(tmp_path: Path) -> None:
    write_spec(tmp_path, THREE)
    watching = """
        import sys
        if "submitit" not in " ".join(sys.orig_argv):
            import glob, pathlib
            import suite.store.merging as merging

            fold = merging.fold

            def watched(*stores, **urls):
                from filelock import FileLock, Timeout
                try:
                    with FileLock(urls["source_url"].removeprefix("sqlite:///").replace(".sqlite", ".lock"), timeout=0):
                        free = "free"
                except Timeout:
                    free = "held"
                with open("folds.txt", "a") as file:
                    print(free, file=file)
                return fold(*stores, **urls)

            merging.fold = watched
    """
    code, output = run(tmp_path, "--executor", "slurm", sabotage=watching)
    assert code == 0, output
    assert (tmp_path / "folds.txt").read_text().split() == ["held"] * 3


@pytest.mark.slow
def test_a_job_waits_for_a_shard_that_is_being_folded(tmp_path: Path) -> None:
    from filelock import FileLock

    write_spec(tmp_path, THREE.replace("  adam", "  # adam").replace("  sgd", "  # sgd"))
    holding = """
        import suite.scheduling.shards as shards

        submit = shards.Shards.submit

        def noted(self, orders, *more):
            open("shard.txt", "w").write(str(self.shard(orders[0].cell)))
            import os, time
            while not os.path.exists("held"):
                time.sleep(0.1)
            return submit(self, orders, *more)

        shards.Shards.submit = noted
    """
    process = start(tmp_path, "--executor", "slurm", sabotage=holding)
    wait_for(lambda: (tmp_path / "shard.txt").exists() and (tmp_path / "shard.txt").read_text())
    with FileLock((tmp_path / "shard.txt").read_text().replace(".sqlite", ".lock")):
        (tmp_path / "held").touch()
        wait_for(lambda: submitted(tmp_path) == 1)
        time.sleep(8)
    assert process.wait(DEADLINE) == 0, (tmp_path / "output.txt").read_text()
    assert statuses(tmp_path) == {"kpsvd": "done"}


def cells_of(folder: Path) -> list[Cell]:
    return list(matrix_of(folder).cells)


@pytest.mark.usefixtures("working_folder")
def test_a_job_whose_note_another_command_has_removed_is_over(tmp_path: Path) -> None:
    cell = cells_of(tmp_path)[0]
    site = SimpleNamespace(
        rules=Scheduling.model_validate({"slurm": {"cluster": "local"}}), provenance=SimpleNamespace(fingerprint="x")
    )
    shards = Shards(tmp_path / "shards", site)  # type: ignore[arg-type]
    note = shards.folder / f"{cell.key}.json"
    note.write_text(json.dumps({"job": "1", "cluster": "local"}))
    one = shards.earlier(cell)
    assert one is not None
    assert not shards.is_over(one), "the process 1 is there"
    note.write_text(json.dumps({"job": "2", "cluster": "local"}))
    shards.forget(one)
    assert note.exists(), "it is of a later job"
    note.unlink()
    assert shards.is_over(Submitted(cell, one.job, ours=False))


@pytest.mark.parametrize(
    ("elapsed", "signals", "why"),
    [
        (10.0, [], None),
        (101.0, [], "scheduling.wall_seconds"),
        (10.0, [signal.SIGUSR2], None),
        (80.0, [signal.SIGTERM], None),
        (80.0, [signal.SIGUSR2], "1.5 minutes of scheduling.slurm.minutes"),
    ],
)
def test_the_signal_before_the_end_of_a_jobs_time_is_told_from_preemption(
    elapsed: float, signals: list[int], why: str | None
) -> None:
    watch = Watch(clock=lambda: elapsed, begun=0.0)
    found = Limits(100.0, 240.0 if elapsed == 10.0 else 90.0).exceeded(watch, signals)
    assert (found is None) if why is None else (found is not None and why in found)


def reserved(store: Store, cell: Cell) -> int:
    found = store.claim(
        cell,
        experiment=store.experiment("small", "text"),
        environment=store.environment(MACHINE),
        fingerprint="sources",
        device=RESERVED,
        contended=False,
        since=0,
    )
    assert found.run is not None
    return found.run


@pytest.mark.usefixtures("working_folder")
def test_a_cell_that_is_held_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third, *_ = cells_of(tmp_path)
    with open_store(f"sqlite:///{tmp_path}/a.sqlite") as store, open_store(f"sqlite:///{tmp_path}/a.sqlite") as other:
        other._owner = Owner(store._owner.host, 2**22 + 1)  # no process has that number
        run = reserved(store, first)
        assert claim(store, first).status == "running"
        store.release(run)
        assert store.newest() == 0
        reserved(other, first)
        assert claim(store, first).run is None
        monkeypatch.setattr("suite.store.leases.GONE_SECONDS", 0.0)
        assert store.sweep() == 0, "it is no attempt"
        assert claim(store, first).run is not None
        reserved(store, second)
        theirs = reserved(other, third)
        store.release(theirs)
        assert other.newest() == theirs, "only one's own is given back"
        with open_store(f"sqlite:///{tmp_path}/b.sqlite") as target:
            assert fold(store, target, source_url="sqlite:///a.sqlite", target_url="sqlite:///b.sqlite").added == 1
