"""One thread: the networks of the tests are small, and timings on few cores stay steady."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import HealthCheck, settings

from tests.reliability import Collector, Evidence

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

torch.set_num_threads(1)
settings.register_profile(  # no example fails because the machine is busy
    "any machine", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
settings.load_profile("any machine")

FAILED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-reliability", action="store_true", help="write the table of faults into reports/reliability.md"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--write-reliability") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Collector())


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Iterator[Evidence]:
    """What the test of a declared fault has seen; its row, once it has passed."""
    found = Evidence()
    with found.stalls:
        yield found
    (mark,) = request.node.iter_markers("fault")
    if not request.node.stash.get(FAILED, False):
        request.node.user_properties.append(("fault", [*mark.args, *found.row()]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell the fixture above whether its test has failed: then nothing is missing of its evidence."""
    report = yield
    if report.when == "call":
        item.stash[FAILED] = not report.passed
    return report
