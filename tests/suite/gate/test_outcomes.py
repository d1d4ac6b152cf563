"""The deterministic channel on made-up outcomes: what is worse, by how much, and what is let pass."""

from __future__ import annotations

import math

import pytest

from suite.errors import ExitCode
from suite.gate.outcomes import FISHER, Outcome, compare
from suite.gate.verdicts import Channel, Finding, Report, Verdict, relative_change

BEFORE = Outcome(
    status="done",
    iterations=(0, 10, 20, 30),
    train_loss=(30.0, 24.0, 20.0, 18.0),
    test_loss=(31.0, 25.0, 21.0, 20.0),
    fisher={"linear1": 0.5, "linear2": 0.8},
    operations=1000,
)


def verdicts(now: Outcome, tolerance: float = 0.0, before: Outcome = BEFORE, target: float = 20.0) -> dict[str, str]:
    """What is not the same, by measure."""
    found = compare("cell", before, now, [target], tolerance)
    return {finding.measure: finding.verdict.value for finding in found if finding.verdict != Verdict.SAME}


def test_the_same_is_the_same() -> None:
    assert verdicts(BEFORE) == {}
    measures = [finding.measure for finding in compare("cell", BEFORE, BEFORE, [20.0], 0.0)]
    assert measures == [
        "ends without diverging",
        "iterations to 20",
        "training loss",
        "test loss",
        "Fisher error of linear1",
        "Fisher error of linear2",
        "operations per iteration",
    ]


def test_the_smallest_change_for_the_worse_counts_where_nothing_is_allowed() -> None:
    now = BEFORE._replace(train_loss=(30.0, 24.0, 20.0, math.nextafter(18.0, 19.0)))
    assert verdicts(now) == {"training loss": "worse"}
    assert verdicts(now, tolerance=1e-12) == {}


def test_one_checkpoint_for_the_worse_outweighs_all_that_are_better() -> None:
    now = BEFORE._replace(train_loss=(29.0, 24.5, 15.0, 14.0))
    (finding,) = [f for f in compare("cell", BEFORE, now, [], 0.01) if f.measure == "training loss"]
    assert (finding.verdict, finding.note, finding.before, finding.now) == ("worse", "at iteration 10", 24.0, 24.5)
    assert finding.change == pytest.approx(0.5 / 24)


def test_what_is_better_is_said_with_the_checkpoint_that_gained_most() -> None:
    now = BEFORE._replace(train_loss=(30.0, 24.0, 19.0, 17.5))
    (finding,) = [f for f in compare("cell", BEFORE, now, [], 0.0) if f.measure == "training loss"]
    assert (finding.verdict, finding.note) == ("better", "at iteration 20")


def test_iterations_to_a_target() -> None:
    later = BEFORE._replace(train_loss=(30.0, 24.0, 20.1, 18.0))
    missed = BEFORE._replace(train_loss=(30.0, 24.0, 23.0, 22.0))
    sooner = BEFORE._replace(train_loss=(30.0, 19.0, 20.0, 18.0))
    assert verdicts(later)["iterations to 20"] == "worse"
    assert "iterations to 20" not in verdicts(later, tolerance=0.01), "20.1 is within 1 % of the target in time"
    assert verdicts(missed, tolerance=0.01)["iterations to 20"] == "worse"
    assert verdicts(sooner)["iterations to 20"] == "better"
    assert "iterations to 20" not in verdicts(missed, before=missed), "a miss on both sides is no change"
    (finding,) = [f for f in compare("cell", BEFORE, missed, [20.0], 0.0) if f.measure == "iterations to 20"]
    assert (finding.before, finding.now, finding.change) == (20, math.inf, math.inf)


def test_fisher_errors_are_held_by_layer_with_more_slack() -> None:
    now = BEFORE._replace(fisher={"linear1": 0.5, "linear2": 0.8 * 1.05})
    assert verdicts(now) == {"Fisher error of linear2": "worse"}
    assert verdicts(now, tolerance=0.051 / FISHER) == {}
    assert verdicts(BEFORE._replace(fisher={"linear1": 0.4, "linear2": 0.8})) == {"Fisher error of linear1": "better"}
    assert verdicts(BEFORE._replace(fisher={"linear1": 0.5})) == {"Fisher error of linear2": "not comparable"}
    assert verdicts(BEFORE._replace(fisher={**BEFORE.fisher, "new": 1.0})) == {"Fisher error of new": "new"}


def test_divergence_and_losses_that_are_no_numbers_are_worse() -> None:
    now = BEFORE._replace(status="diverged", train_loss=(30.0, 24.0, 20.0, math.nan))
    assert verdicts(now, tolerance=0.5) == {"ends without diverging": "worse", "training loss": "worse"}
    assert verdicts(BEFORE, before=now, tolerance=0.5) == {
        "ends without diverging": "better",
        "training loss": "better",
    }
    assert verdicts(now, before=now) == {}


def test_counted_operations() -> None:
    assert verdicts(BEFORE._replace(operations=1001)) == {"operations per iteration": "worse"}
    assert verdicts(BEFORE._replace(operations=900)) == {"operations per iteration": "better"}
    assert verdicts(BEFORE._replace(operations=None)) == {}


def test_outcomes_without_a_common_checkpoint_cannot_be_compared() -> None:
    now = BEFORE._replace(iterations=(1, 2, 3, 4))
    assert verdicts(now)["training loss"] == "not comparable"


def test_an_outcome_survives_the_file() -> None:
    assert Outcome.read(BEFORE.plain()) == BEFORE
    broken = BEFORE._replace(test_loss=(31.0, 25.0, math.nan, math.inf), operations=None)
    read = Outcome.read(broken.plain())
    assert all(map(math.isnan, read.test_loss[2:]))
    assert read.operations is None


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (2, 3, 0.5),
        (-2, -1, 0.5),
        (0, 0, 0),
        (0, 1, math.inf),
        (0, -1, -math.inf),
        (math.nan, 1, -1),
        (1, math.nan, math.inf),
    ],
)
def test_relative_changes(before: float, now: float, expected: float) -> None:
    assert relative_change(before, now) == expected


def finding_of(verdict: Verdict, channel: Channel = Channel.DETERMINISTIC) -> Finding:
    return Finding(channel, "a cell", "a measure", 1.0, 1.0, 0.0, 0.0, verdict)


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([Verdict.SAME, Verdict.BETTER, Verdict.NEW], ExitCode.FINE),
        ([Verdict.NEW], ExitCode.NOTHING_MEASURED),
        ([Verdict.SAME, Verdict.INCOMPARABLE], ExitCode.NOT_COMPARABLE),
        ([Verdict.SAME, Verdict.INCOMPARABLE, Verdict.FAILED], ExitCode.CELLS_FAILED),
        ([Verdict.SAME, Verdict.INCOMPARABLE, Verdict.FAILED, Verdict.WORSE], ExitCode.REGRESSION),
    ],
)
def test_the_gravest_of_what_is_found_is_the_exit_code(found: list[Verdict], code: ExitCode) -> None:
    assert Report("spec", "baseline", tuple(map(finding_of, found))).exit_code == code


def test_in_shadow_the_clock_makes_nothing_fail_and_nothing_green() -> None:
    slower = finding_of(Verdict.WORSE, Channel.CLOCK)
    assert Report("spec", "baseline", (slower, finding_of(Verdict.SAME))).exit_code == ExitCode.REGRESSION
    assert Report("spec", "baseline", (slower, finding_of(Verdict.SAME)), shadow=True).exit_code == ExitCode.FINE
    assert Report("spec", "baseline", (slower,), shadow=True).exit_code == ExitCode.NOTHING_MEASURED
