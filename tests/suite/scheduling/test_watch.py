"""When a cell is overdue, by a clock that the test sets."""

from __future__ import annotations

from suite.scheduling.watch import Watch


class Clock:
    """Seconds that pass as the test says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_cell_is_overdue_beyond_its_wall_seconds_however_much_it_says() -> None:
    clock = Clock()
    watch = Watch(clock)
    watch.begin()
    clock.now += 8.0
    watch.hear()
    assert watch.overdue(8.0, 5.0) is None
    clock.now += 0.5
    assert watch.overdue(8.0, 5.0) == "the cell took more than the 8 seconds of scheduling.wall_seconds"
    assert watch.overdue(None, 5.0) is None


def test_a_cell_is_overdue_once_it_was_silent_for_too_long() -> None:
    clock = Clock()
    watch = Watch(clock)
    watch.begin()
    clock.now += 4.0
    watch.hear()
    clock.now += 5.0
    assert watch.overdue(None, 5.0) is None
    clock.now += 0.5
    assert watch.overdue(None, 5.0) == "the cell sent nothing for the 5 seconds of scheduling.silent_seconds"
    assert watch.overdue(None) is None
    watch.hear()
    assert watch.overdue(None, 5.0) is None


def test_no_cell_is_overdue_before_it_has_begun() -> None:
    clock = Clock()
    watch = Watch(clock)
    clock.now += 100.0
    watch.hear()
    clock.now += 100.0
    assert (watch.elapsed, watch.overdue(8.0, 5.0)) == (0.0, None)
    watch.begin()
    clock.now += 10.0
    assert watch.elapsed == 10.0
    assert watch.overdue(8.0, 5.0) is not None


def test_what_is_begun_again_is_timed_anew() -> None:
    clock = Clock()
    watch = Watch(clock)
    watch.begin()
    clock.now += 100.0
    watch.begin()
    assert watch.overdue(8.0, 5.0) is None
