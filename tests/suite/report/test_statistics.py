"""Differences, shared ranks, the whole and its profile, of made-up runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from suite.report import html
from suite.report.figures import figures
from suite.report.formats import latex, tables
from suite.report.formats.document import Heading, Listing
from suite.report.formats.markdown import render
from suite.report.sections.flags import flags
from suite.report.sections.page import page
from suite.report.statistics import against_baselines, final_losses, overall, speedups
from tests.suite.helpers import says
from tests.suite.report.made_up import DIVERGED, TWO, board_of, findings_of, three_seeds

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("sketched")

CLEAR = {
    "sgd": [[40, 30, 25.0], [40, 31, 25.5], [40, 29, 24.5]],
    "adam": [[40, 24, 17.0], [40, 25, 17.6], [40, 24, 16.7]],
    "kfac": [[40, 20, 15.0], [40, 20, 15.7], [40, 20, 14.6]],
    "kpsvd": [[40, 19, 15.4], [40, 21, 15.1], [40, 20, 15.0]],
}
SINGLE = three_seeds().replace("seeds: [0, 1, 2]", "seeds: [0]")
BOTH = {(data, label): runs for data in ("digits", "wide") for label, runs in CLEAR.items()}


def test_who_is_not_shown_to_differ_shares_a_rank(tmp_path: Path) -> None:
    board = board_of(tmp_path, three_seeds(), CLEAR)
    assert [(s.optimizer, s.rank) for s in board.standings] == [("kfac", 1), ("kpsvd", 1), ("adam", 3), ("sgd", 4)]
    assert [row[0] for row in tables.ranking(board).rows] == ["1", "1", "3", "4"]


def test_one_seed_shows_no_order_and_no_interval(tmp_path: Path) -> None:
    board = board_of(tmp_path, SINGLE, {label: runs[:1] for label, runs in CLEAR.items()})
    assert [(s.optimizer, s.rank) for s in board.standings] == [("kfac", 1), ("kpsvd", 1), ("adam", 1), ("sgd", 1)]
    assert "95 % interval" not in tables.ranking(board).headings
    assert all("[" not in text for row in tables.differences(against_baselines(board)).rows for text in row)


def test_a_diverged_seed_ranks_below_and_a_rank_is_kept_for_those_above(tmp_path: Path) -> None:
    board = board_of(tmp_path, three_seeds(), {**CLEAR, "kfac": [[40, 5], DIVERGED, [40, 4]]})
    assert [(s.optimizer, s.rank) for s in board.standings] == [("kpsvd", 1), ("adam", 2), ("sgd", 3), ("kfac", 4)]


def test_a_final_loss_is_the_last_and_not_the_lowest_and_every_seed_has_one(tmp_path: Path) -> None:
    board = board_of(tmp_path, three_seeds(), {"adam": [[40, 15, 18], [40, 20], DIVERGED]})
    adam = board.standings[0]
    assert final_losses(adam) == {0: 18, 1: 20, 2: math.inf}
    assert (adam.train_loss.mean, adam.train_loss.n, adam.diverged) == (19, 2, 1)
    assert adam.best_train_loss == 15


def test_differences_are_those_of_a_paired_t_test(tmp_path: Path) -> None:
    board = board_of(tmp_path, three_seeds(), CLEAR)
    found = {(row.optimizer, row.baseline): row for row in against_baselines(board)}
    assert list(found) == [
        ("kfac", "adam"), ("kfac", "sgd"), ("kpsvd", "adam"), ("kpsvd", "sgd"), ("kpsvd", "kfac"), ("adam", "sgd"),
    ]  # fmt: skip
    theirs = stats.ttest_rel([15.4, 15.1, 15.0], [15.0, 15.7, 14.6]).confidence_interval()
    row = found["kpsvd", "kfac"]
    assert row.difference.interval == pytest.approx((theirs.low, theirs.high))
    assert (row.beats.value, row.beats.n) == (pytest.approx(1 / 3), 3)
    assert tables.differences([row]).rows == [["kpsvd", "kfac", "0.1 [-1.4, 1.5]", "0.33 [0.01, 0.91]", "3"]]


def test_speed_ups_and_their_bounds(tmp_path: Path) -> None:
    board = board_of(tmp_path, three_seeds(targets="digits: 20"), CLEAR)
    rows = {tuple(row[:2]): row[2:] for row in tables.speedups(speedups(board, 20.0)).rows}
    assert rows["kfac", "adam"] == ["2.00", "2.00", "2.00", "3 of 3"]
    assert rows["kpsvd", "adam"][0] == "1.59 [0.587, 4.29]", "2, 1 and 2"
    assert rows["kfac", "sgd"][0] == "≥ 2.00", "SGD misses: looked at for 40 iterations"
    assert rows["adam", "sgd"][0] == "≥ 1.00"


def test_the_whole_of_two_data_sets(tmp_path: Path) -> None:
    found = findings_of(tmp_path, three_seeds(TWO), BOTH)
    rows = overall(found.boards)
    assert [row.optimizer for row in rows] == ["kfac", "kpsvd", "adam", "sgd"]
    assert [row.rank.value for row in rows] == pytest.approx([4 / 3, 5 / 3, 3, 4])
    assert not rows[0].rank.interval.known, "the data sets agree, which tells nothing of their spread"
    assert rows[0].beats["adam"] == (1, pytest.approx((0.158, 1), abs=1e-3), 2)
    assert rows[1].beats["kfac"].value == pytest.approx(1 / 3)
    assert tables.overall(rows).rows[2] == ["adam", "3.00", "—", "1.00 [0.16, 1.00]", "0.00 [0.00, 0.84]"]
    assert overall(found.boards[:1]) == []


def test_without_a_baseline_ranks_stand_alone(tmp_path: Path) -> None:
    text = three_seeds(TWO.replace("kfac: {method: kfac", "tkfac: {method: tkfac"))
    losses = {
        (data, new): CLEAR[old] for data in ("digits", "wide") for new, old in (("tkfac", "kfac"), ("kpsvd",) * 2)
    }
    found = findings_of(tmp_path, text, losses)
    assert tables.overall(overall(found.boards)).headings == ["optimizer", "mean rank"]
    text = render(page(found, "c"), {})
    assert "Mean rank over 2 data sets" in text
    assert "Differences from" not in text


def test_an_interval_of_ranks_stays_among_the_ranks(tmp_path: Path) -> None:
    worse = {**BOTH, ("wide", "kpsvd"): [[40, 30, 19.0]] * 3}
    kpsvd = next(
        row for row in overall(findings_of(tmp_path, three_seeds(TWO), worse).boards) if row.optimizer == "kpsvd"
    )
    assert kpsvd.rank.value == pytest.approx((5 / 3 + 3) / 2)
    assert kpsvd.rank.interval == (1, 4)


def test_profiles_are_over_data_sets_targets_and_seeds(tmp_path: Path) -> None:
    text = three_seeds(TWO, targets="digits: [20.0, 1.0], wide: 25")
    found = findings_of(tmp_path, text, BOTH)
    assert found.profile is not None
    profiles = found.profile.by_clock["iteration"]
    assert profiles.problems == 9, "two targets and one, three seeds each"
    at_one = dict(zip(found.profile.optimizers, profiles.shares[:, 0], strict=True))
    # target 20: KFAC first on all three seeds, KPSVD on two; 1: nobody; 25: all but SGD at the first evaluation
    assert at_one == pytest.approx({"kfac": 6 / 9, "kpsvd": 5 / 9, "adam": 3 / 9, "sgd": 0})
    assert list(figures.draw_whole(found, tmp_path)) == ["profile"]
    axis = figures._profile(found.profile, found).axes[0]
    assert [line.get_label() for line in axis.lines] == found.profile.optimizers
    assert len(axis.collections) == 4, "a band for each"
    last = np.asarray(axis.lines[0].get_ydata())[-1]
    assert last == pytest.approx(profiles.shares[0, -1])


def test_without_targets_or_with_one_optimizer_there_is_no_profile(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    assert findings_of(tmp_path / "one", three_seeds(), {("digits", "adam"): CLEAR["adam"]}).profile is None
    found = findings_of(tmp_path, three_seeds().replace("targets: {digits: [20.0, 1.0]}", ""), BOTH)
    assert found.profile is None
    assert figures.draw_whole(found, tmp_path) == {}


UNTUNED = "This specification tunes nothing: every setting is as given in it."


def test_flags_say_what_to_take_care_of(tmp_path: Path) -> None:
    found = findings_of(tmp_path, three_seeds(), {("digits", "adam"): [[40, 20], DIVERGED], ("digits", "kfac"): [[40]]})
    said = flags(found, found.boards[0])
    untuned, few, diverged, missing = said
    assert untuned == UNTUNED
    assert says(few, "3 seeds", "kfac (1), adam (2)")
    assert says(diverged, "diverged", "adam (1 of 2)")
    assert says(missing, "without a result", "kfac (2), adam (1), sgd (3), kpsvd (3)")
    for result in found.boards[0].standings[0].results:
        result.run.contended, result.run.environment_id, result.run.fingerprint = True, 7, "older"
    text = "\n".join(flags(found, found.boards[0]))
    assert says(text, "1 of 3 runs", "shared the machine")
    assert says(text, "2 environments")
    assert says(text, "2 versions", "sources")


def test_a_clean_board_is_flagged_for_not_being_tuned_alone(tmp_path: Path) -> None:
    found = findings_of(tmp_path, three_seeds(), BOTH)
    assert flags(found, found.boards[0]) == [UNTUNED]
    assert UNTUNED in render(page(found, "c"), {})


def test_several_flags_stand_one_beneath_the_other_in_every_format() -> None:
    blocks = [Listing(["a_b", "5 < 6 & more"])]
    assert "* a\\_b\n* 5 \\< 6 " in render(blocks, {})
    assert "<ul><li>a_b</li><li>5 &lt; 6 &amp; more</li></ul>" in html.render(
        [Heading("t", level=1), *blocks], {}, {}, {}
    )
    assert "\\item a\\_b\n\\item 5" in latex.render(blocks, {})


def test_the_page_says_what_a_target_is_or_why_it_is_no_number(tmp_path: Path) -> None:
    targets = "digits: [{best_of: adam}, {best_of: tkfac}, {fraction: 0.9, between: [start, {best_of: 'a<b>'}]}]"
    text = render(page(findings_of(tmp_path, three_seeds(targets=targets), BOTH), "c"), {})
    assert says(text, "best of adam = 17.10")
    assert says(text, "best of tkfac", "no number", "no run of tkfac")
    assert says(text, r"the best of a\<b\>”", "no number")
