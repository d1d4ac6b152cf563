"""What cells print, and how a matrix stands, seen from another terminal: bounded, escaped, while it runs and after."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import sqlite3
import subprocess
import threading
from contextlib import closing
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from suite.errors import printable
from suite.scheduling.output import KEPT_BYTES, Log, Output
from suite.store import open_store
from tests.suite.helpers import DEADLINE, bench, command, environment, write_spec
from tests.suite.stores import begin, matrix_of

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

ROOT = Path(__file__).parents[3]

SPEC = """
version: 1
name: loud
optimizers:
  loud: {method: "mine:Loud"}
  broken: {method: "mine:Broken"}
datasets:
  digits: {data: digits, network: {kind: autoencoder, encoder: [4]}, likelihood: bernoulli, batch_size: 64}
seeds: [0]
budget: {seconds: 60}
"""

MINE = r"""
import os, pathlib, sys, torch

class Loud(torch.optim.SGD):
    step_number = 0

    def __init__(self, params, lr=0.01):
        super().__init__(params, lr)

    def step(self, closure=None):
        Loud.step_number += 1
        if Loud.step_number == 1:
            os.write(1, bytes(range(256)))
            os.system("echo from a grandchild")
        print(f"step {Loud.step_number} \x1b[2J" + "." * 1000)
        super().step(closure)
        if pathlib.Path("enough").exists():
            print("the last words", end="")
            raise SystemError("\x1b[31mloud is broken")

class Broken(torch.optim.SGD):
    def __init__(self, params, lr=0.01):
        super().__init__(params, lr)
        print("before it breaks", file=sys.stderr)
        sys.stderr.flush()
        os._exit(7)
"""


@pytest.mark.slow
def test_a_running_matrix_is_seen_from_another_terminal(tmp_path: Path) -> None:
    write_spec(tmp_path, SPEC, "loud.yaml")
    (tmp_path / "mine.py").write_text(MINE)

    def start(*arguments: str) -> subprocess.Popen[str]:
        settings = environment(tmp_path) | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
        every = command(*arguments, "loud.yaml", "--allow-import")
        return subprocess.Popen(every, cwd=tmp_path, env=settings, stdout=subprocess.PIPE, text=True)

    with start("status", "--watch", "--json") as watching, start("run", "--devices", "sim:1") as running:
        patience = threading.Timer(DEADLINE, watching.kill)
        patience.start()
        try:
            assert watching.stdout is not None
            seen = [json.loads(watching.stdout.readline())]
            while not seen[-1]["running"] or seen[-1]["running"][0]["iteration"] < 3000:
                seen.append(json.loads(watching.stdout.readline()))
            (row,) = seen[-1]["running"]
            assert (row["cell"], row["on"]) == ("loud × digits × seed 0", "sim:0")
            assert row["by"].endswith(f":{running.pid}")
            assert 0 < row["loss"] < 60
            plain = bench(tmp_path, "status", "loud.yaml", "--allow-import").stdout
            assert row["key"] in plain
            while_it_runs = bench(tmp_path, "logs", row["key"][:10])
            (tmp_path / "enough").touch()
            seen += map(json.loads, watching.stdout)
        finally:
            patience.cancel()
            watching.kill()
            running.wait(DEADLINE)
    assert seen[0]["states"] == {"missing": 2}
    assert (seen[-1]["states"], seen[-1]["running"]) == ({"error": 2}, [])
    assert (watching.returncode, running.returncode) == (4, 3)

    assert while_it_runs.returncode == 0, while_it_runs.stderr
    assert "loud × digits × seed 0" in while_it_runs.stdout
    assert ": running on sim:0" in while_it_runs.stdout
    steps = [int(number) for number in re.findall(r"step (\d+) \\x1b\[2J", while_it_runs.stdout)]
    assert steps[-1] >= 2900, "what a fast machine prints until the command looks is kept from its end"
    assert "\x1b" not in while_it_runs.stdout
    after = bench(tmp_path, "logs", "optimizer=loud")
    assert "the last words" in after.stdout
    assert "loud is broken" in after.stdout
    assert "bytes before this are left out]" in after.stdout, "it printed more than is kept"
    assert "\x1b" not in after.stdout
    assert max(file.stat().st_size for file in (tmp_path / "kfsvd-bench.logs").iterdir()) < 2 * KEPT_BYTES + 2**16
    broken = json.loads(bench(tmp_path, "logs", "optimizer=broken,seed=0", "--json").stdout)
    assert (broken["status"], broken["iteration"]) == ("error", 0)
    assert "before it breaks" in broken["output"]
    assert "exit code 7" in broken["error"]


@pytest.mark.parametrize(
    ("cell", "code", "message"),
    [
        ("../../secret", 2, "CELL '../../secret': give a key, as `kfsvd-bench status` shows it"),
        ("ffffffff", 2, "CELL 'ffffffff': no attempt at such a cell is in the store"),
        ("optimizer=kfca", 2, "no cell has optimizer 'kfca'; did you mean 'kfac'"),
        ("optimizer=kfac|sgd,seed=0", 2, "2 cells are meant; give one's key:\n  "),
        ("optimizer=sgd,seed=0", 0, "running on cpu:0, no iteration is stored\n\nNo output of it is here"),
        ("optimizer=kfac,seed=0", 0, r"k\x1b[2Jey"),
    ],
)
def test_which_cell_is_meant(tmp_path: Path, cell: str, code: int, message: str) -> None:
    (tmp_path / "secret.log").write_text("a secret")
    matrix = matrix_of(tmp_path)
    with open_store(f"sqlite:///{tmp_path}/kfsvd-bench.sqlite") as store:
        for each in matrix.cells[:4]:
            begin(store, each)
    with closing(sqlite3.connect(tmp_path / "kfsvd-bench.sqlite")) as connection:  # a store from a stranger
        connection.execute("UPDATE runs SET cell_key = '../secret' || char(10) WHERE optimizer = 'adam'")
        connection.execute("UPDATE runs SET error = 'k' || char(27) || '[2Jey' WHERE optimizer = 'kfac'")
        connection.commit()
    done = bench(tmp_path, "logs", cell)
    assert done.returncode == code, done.stderr
    assert message in done.stdout + done.stderr
    assert "secret\n" not in done.stdout
    assert "Traceback" not in done.stderr


def test_a_log_keeps_its_end_and_says_what_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "3.log"
    log = Log(file)
    for number in range(10_000):
        log.add(f"{number:>99}\n".encode())
        assert not number % 100 or file.stat().st_size <= 2 * KEPT_BYTES + 100
    text = file.read_text()
    gone, kept = text.split("\n", 1)
    assert gone == f"[{1_000_000 - len(kept)} bytes before this are left out]"
    assert kept.splitlines()[-1].strip() == "9999"
    assert KEPT_BYTES <= len(kept) <= 2 * KEPT_BYTES
    assert [path.name for path in file.parent.iterdir()] == ["3.log"]
    Log(file).add(b"another run of this number\n")
    assert file.read_text() == "another run of this number\n"


def test_a_log_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file, where the folder should be")
    Log(tmp_path / "logs" / "3.log").add(b"lost")
    assert (tmp_path / "logs").read_text() == "a file, where the folder should be"


def print_for_ever(pipe: Connection) -> None:
    while True:
        os.write(pipe.fileno(), b"x" * 1000)


def test_what_prints_for_ever_holds_nobody_up(tmp_path: Path) -> None:
    ours, theirs = multiprocessing.get_context("spawn").Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=print_for_ever, args=(theirs,))
    process.start()
    theirs.close()
    output = Output(ours)
    assert wait([output.pipe], DEADLINE)
    assert output.read()
    output.begin(tmp_path / "1.log")
    for _ in range(20):  # at least a thousand bytes each time
        assert wait([output.pipe], DEADLINE)
        assert output.read()
    output.end()
    process.kill()
    process.join()
    assert output.last_words() == "x" * 4000
    while output.open:
        output.read()
    assert (tmp_path / "1.log").stat().st_size > 1000
    output.close()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("an ordinary\tline × λ\r\nand another\n", "an ordinary\tline × λ\nand another\n"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("safe\u202egnp.exe", "safe\\u202egnp.exe"),
        ("\udc80\x00\x9b31m", "\\udc80\\x00\\x9b31m"),
    ],
)
def test_foreign_text_is_shown_and_never_obeyed(text: str, shown: str) -> None:
    assert printable(text) == shown
