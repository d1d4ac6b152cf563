"""What comes over a worker's pipe: whole messages, parts of one, and bytes that are none; nobody waits for any."""

from __future__ import annotations

import os
import pickle
import struct
import threading
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

import pytest

from suite.scheduling.inbox import MOST_BYTES, GarbageError, Inbox
from suite.scheduling.messages import Finished, Noted, Ready
from tests.suite.scheduling.test_faults import PATIENCE, TWO, rows, run, statuses

if TYPE_CHECKING:
    from pathlib import Path


def test_messages_come_in_their_order_however_large() -> None:
    ours, theirs = Pipe()
    sent = [Ready(), Noted(1, "x" * 5_000_000), Finished(1, "done", None, None)]
    sender = threading.Thread(target=lambda: [theirs.send(message) for message in sent])
    sender.start()
    inbox, come = Inbox(ours), []
    while len(come) < len(sent):
        assert wait([ours], timeout=60)
        inbox.read()
        come += inbox.messages()
    sender.join()
    assert come == sent
    theirs.close()
    with pytest.raises(EOFError):
        inbox.read()
    ours.close()


@pytest.mark.parametrize(
    ("junk", "why"),
    [
        (b"junk!", "a message of 1786080875 bytes"),
        (struct.pack("!i", MOST_BYTES + 1), "a message of 268435457 bytes"),
        (struct.pack("!i", -1) + bytes(8), "a message of -1 bytes"),
        (bytes(4), "a message of 0 bytes"),
        (struct.pack("!i", 5) + b"junk!", "UnpicklingError"),
        (struct.pack("!i", len(pickle.dumps(12))) + pickle.dumps(12), "a int"),
    ],
)
def test_junk_is_told_from_the_message_before_it(junk: bytes, why: str) -> None:
    ours, theirs = Pipe()
    with ours, theirs:
        theirs.send(Ready())
        os.write(theirs.fileno(), junk)
        inbox = Inbox(ours)
        inbox.read()
        messages = inbox.messages()
        assert next(messages) == Ready()
        with pytest.raises(GarbageError, match=why):
            next(messages)


def test_a_part_of_a_message_is_not_waited_for() -> None:
    ours, theirs = Pipe()
    with ours, theirs:
        whole = pickle.dumps(Noted(1, "late"))
        parts = [struct.pack("!i", len(whole))[:2], struct.pack("!i", len(whole))[2:] + whole[:5], whole[5:]]
        inbox, come = Inbox(ours), []
        for part in parts:
            os.write(theirs.fileno(), part)
            inbox.read()
            come.append(list(inbox.messages()))
        assert come == [[], [], [Noted(1, "late")]]


BAD = """
    import os
    import signal
    import struct

    import suite.scheduling.worker as worker

    train = worker._train

    def sabotaged(connection, device, job):
        if job.cell.optimizer == "adam":
            open("child", "w").close()
            os.write(connection.fileno(), {})
            os.kill(os.getpid(), signal.SIGSTOP)
        return train(connection, device, job)

    worker._train = sabotaged
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "status", "why"),
    [
        ('b"junk!"', "error", "sent what cannot be read (a message of 1786080875 bytes)"),
        ('struct.pack("!i", 10**6) + bytes(1000)', "timeout", "sent nothing for the 2 seconds"),
    ],
    ids=["junk", "stopped in the middle of a message"],
)
def test_a_worker_that_sends_no_whole_message_costs_its_cell_alone(
    tmp_path: Path, sent: str, status: str, why: str
) -> None:
    code, output = run(tmp_path, TWO + "scheduling: {silent_seconds: 2}\n", BAD.format(sent) + PATIENCE)
    assert code == 3, output
    assert statuses(tmp_path) == {"sgd": "done", "adam": status, "kpsvd": "done"}
    ((error,),) = rows(tmp_path, f"SELECT error FROM runs WHERE status = '{status}'")
    assert why in error
