from __future__ import annotations

import hashlib
import random
import urllib.request
from typing import TYPE_CHECKING

import pytest

from suite.errors import DataMissingError
from suite.problems.data import mirrors
from suite.problems.data.mirrors import download, file_sha256, missing, silent
from tests.suite.problems.data.mirror import Mirror, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = random.Random(0).randbytes(700_001)  # three reads
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def mute(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A mirror that never answers; its timeout alone is shortened, for a busy machine delays the answers of others."""
    open_url = urllib.request.urlopen

    def opened(request: urllib.request.Request, *, timeout: float) -> object:
        assert timeout == mirrors.TIMEOUT_SECONDS
        return open_url(request, timeout=0.3 if request.full_url.startswith(silent_one.address) else 60)

    monkeypatch.setattr(urllib.request, "urlopen", opened)
    with serving(Mirror(b"", silent=True)) as silent_one:
        yield silent_one


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "file.bin"


def part_of(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def check_arrived(failures: list[str], target: Path) -> None:
    assert failures == []
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]  # no part is left


def test_a_whole_file_arrives_and_is_reported(target: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    with serving(Mirror(CONTENT)) as mirror:
        failures = download([mirror.address], SHA256, target, lambda *step: told.append(step))
    check_arrived(failures, target)
    assert {(name, total) for name, _, total in told} == {("file.bin", len(CONTENT))}
    done = [done for _, done, _ in told]
    assert done == sorted(set(done))
    assert len(done) > 1
    assert done[-1] == len(CONTENT)


def test_a_length_that_is_not_told_is_not_reported(target: Path) -> None:
    totals = set()
    with serving(Mirror(CONTENT, sized=False)) as mirror:
        failures = download([mirror.address], SHA256, target, lambda _name, _done, total: totals.add(total))
    check_arrived(failures, target)
    assert totals == {None}


def test_a_cut_connection_is_resumed_where_it_broke(target: Path) -> None:
    done = []
    with serving(Mirror(CONTENT, cut_after=[300_000, 200_000])) as mirror:
        failures = download([mirror.address], SHA256, target, lambda _name, bytes_, _total: done.append(bytes_))
    check_arrived(failures, target)
    assert mirror.ranges == [None, "bytes=300000-", "bytes=500000-"]
    assert done == sorted(done)  # the bar never runs back


def test_a_later_process_resumes_what_an_earlier_one_left(target: Path) -> None:
    part_of(target).write_bytes(CONTENT[:123])
    with serving(Mirror(CONTENT)) as mirror:
        failures = download([mirror.address], SHA256, target, silent)
    check_arrived(failures, target)
    assert mirror.ranges == ["bytes=123-"]


def test_a_part_that_is_complete_needs_no_more_bytes(target: Path) -> None:
    part_of(target).write_bytes(CONTENT)
    with serving(Mirror(CONTENT)) as mirror:
        check_arrived(download([mirror.address], SHA256, target, silent), target)
    assert mirror.ranges == [f"bytes={len(CONTENT)}-"]


def test_a_server_that_does_not_resume_sends_it_all_again(target: Path) -> None:
    part_of(target).write_bytes(b"x" * 123)
    with serving(Mirror(CONTENT, resumes=False)) as mirror:
        check_arrived(download([mirror.address], SHA256, target, silent), target)
    assert mirror.ranges == ["bytes=123-"]


def test_a_part_of_another_file_is_thrown_away(target: Path) -> None:
    part_of(target).write_bytes(b"x" * 123)
    with serving(Mirror(CONTENT)) as mirror:
        failures = download([mirror.address], SHA256, target, silent)
    check_arrived(failures, target)
    assert mirror.ranges == ["bytes=123-", None]


def test_a_wrong_file_is_thrown_away_and_the_next_mirror_asked(target: Path) -> None:
    with serving(Mirror(b"an error page")) as wrong, serving(Mirror(CONTENT)) as right:
        check_arrived(download([wrong.address, right.address], SHA256, target, silent), target)
    assert len(wrong.ranges) == 1


def test_a_wrong_file_never_appears(target: Path) -> None:
    with serving(Mirror(b"an error page")) as mirror:
        (failure,) = download([mirror.address], SHA256, target, silent)
    assert failure.startswith(f"{mirror.address}: wrong checksum")
    assert SHA256[:12] in failure
    assert list(target.parent.iterdir()) == []


def test_an_unfinished_file_is_a_part_and_never_the_file(target: Path) -> None:
    with serving(Mirror(CONTENT, cut_after=[1000, 0])) as mirror:
        (failure,) = download([mirror.address], SHA256, target, silent)
    assert "after 1000 of 700001 bytes" in failure
    assert not target.exists()
    assert part_of(target).read_bytes() == CONTENT[:1000]


def test_a_mirror_that_refuses_is_skipped(target: Path, closed_address: str) -> None:
    with serving(Mirror(CONTENT)) as mirror:
        check_arrived(download([closed_address, mirror.address], SHA256, target, silent), target)
    assert mirror.ranges == [None]


def test_a_mirror_that_is_silent_is_skipped_after_the_timeout(target: Path, mute: Mirror) -> None:
    with serving(Mirror(CONTENT)) as mirror:
        failures = download([mute.address, mirror.address], SHA256, target, silent)
    assert mute.ranges == [None], "it was asked, once"
    check_arrived(failures, target)


def test_every_failure_is_told(target: Path, closed_address: str, mute: Mirror) -> None:
    failures = download([closed_address, mute.address], SHA256, target, silent)
    refused, timed_out = failures
    assert refused.startswith(f"{closed_address}: ")
    assert "refused" in refused
    assert timed_out.startswith(f"{mute.address}: ")
    assert "timed out" in timed_out


def test_a_mirror_that_keeps_breaking_is_given_up(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrors, "MOST_ATTEMPTS", 3)
    with serving(Mirror(CONTENT, cut_after=[10] * 100)) as mirror:
        (failure,) = download([mirror.address], SHA256, target, silent)
    assert failure == f"{mirror.address}: the connection broke 3 times"
    assert len(mirror.ranges) == 3


def test_the_checksum_of_a_file_is_that_of_its_content(target: Path) -> None:
    target.write_bytes(CONTENT)
    assert file_sha256(target) == SHA256


def test_one_error_says_what_was_tried_and_what_to_do() -> None:
    error = missing("mnist: a.gz", ["http://a: refused", "http://b: wrong checksum"], "put a.gz into /data")
    assert isinstance(error, DataMissingError)
    assert str(error).splitlines() == [
        "mnist: a.gz is not at hand and could not be fetched",
        "  tried http://a: refused",
        "  tried http://b: wrong checksum",
        "  put a.gz into /data",
    ]
