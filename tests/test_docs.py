"""The reference is that of the sources, every public name says what it takes, and the guide's code runs."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

import kfsvd
from kfsvd.optimizers import OPTIMIZERS, entries, options_of
from kfsvd.options.declare import flattened
from suite.records import Records
from suite.store import open_store
from tests.snippets import executed
from tests.suite.stores import evaluations, finished, iterations, matrix_of

if TYPE_CHECKING:
    from kfsvd.options.registry import Entry

ROOT = Path(__file__).parents[1]
GUIDE, BENCHMARK = ((ROOT / "docs" / name).read_text() for name in ("guide.md", "benchmark.md"))

_spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
assert _spec
assert _spec.loader
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)

reference = cache(generate.reference)
NAMES = {name: value for names in generate.public_names().values() for name, value in names.items()}
CALLABLES = {
    **{(name, ""): (value, None) for name, value in NAMES.items() if callable(value)},
    **{
        (name, member): (value, cls)
        for name, cls in NAMES.items()
        if inspect.isclass(cls)
        for member, value in generate.members(cls).items()
    },
}
"""(public name, method or "") → (function, the class that it is a method of)."""


def test_the_reference_is_up_to_date() -> None:
    assert generate.PAGE.read_text() == reference(), "docs/reference.md is stale: run `make docs`"


def test_the_reference_says_nothing_of_the_machine() -> None:
    assert not re.search(rf"0x[0-9a-f]{{6}}|{re.escape(str(ROOT))}|{re.escape(sys.prefix)}", reference())


def test_every_public_name_is_in_the_reference() -> None:
    assert set(NAMES) >= set(kfsvd.__all__)
    for name in NAMES:
        assert f"\n### {name}\n" in reference()


def undocumented(function: Any, owner: type | None) -> list[str]:
    """The parameters of which a docstring says nothing."""
    if isinstance(function, property) or (inspect.isclass(function) and issubclass(function, BaseException)):
        return []
    documented = set(generate.arguments_of(function, owner)[0])
    for referred in re.findall(r"(?:those of|as in) `(\w+)`", function.__doc__ if owner is None else ""):
        documented |= set(generate.arguments_of(NAMES[referred])[0])
    if owner is None and hasattr(function, "declares"):
        documented |= set(flattened(function.declares))  # in the table of its options, by another test
        documented |= set(function.declares.__annotations__)
    return [p.name for p in generate.parameters(function) if p.name not in documented]


def test_every_public_callable_says_what_it_is_and_what_it_takes() -> None:
    assert [key for key, (function, _) in CALLABLES.items() if not generate.parsed(function.__doc__).text] == []
    assert {key: missing for key, both in CALLABLES.items() if (missing := undocumented(*both))} == {}


@pytest.mark.parametrize(("name", "entry"), entries().items())
def test_every_option_is_in_the_reference(name: str, entry: Entry) -> None:
    """With its default: in the table of its class, or in that of all natural-gradient optimizers."""
    names = [entry.where.partition(":")[2], *(["NaturalGradient"] if name in OPTIMIZERS else [])]
    own, shared = (
        re.findall(rf"\n### {title}\n(.*?)(?=\n### |\Z)", reference(), re.DOTALL)[0] for title in (names[0], names[-1])
    )
    for option, declared in options_of(entry)[0].items():
        row = f"\n| `{option}` | "
        section = own if row in own else shared
        assert f"{row}`{declared.default!r}` | " in section, (name, option)


def test_constants_say_what_they_are() -> None:
    for name, value in NAMES.items():
        if not callable(value):
            assert name in generate.attributes(sys.modules["kfsvd.approximations"])


PYTHON = re.findall(r"```python\n(.*?)```", GUIDE + BENCHMARK, re.DOTALL)


@pytest.mark.parametrize("block", PYTHON, ids=range(len(PYTHON)))
def test_the_python_in_the_guides_runs(block: str, tmp_path: Path) -> None:
    if "kfsvd-bench.sqlite" in block:
        with open_store(f"sqlite:///{tmp_path}/kfsvd-bench.sqlite") as store:
            for cell in matrix_of(tmp_path).cells:
                finished(store, cell, Records(iterations(60), evaluations([40.0, 20.0]), []))
    assert set(re.findall(r"^(?:import|def|class) (\w+)", block, re.MULTILINE)) <= set(executed(block, tmp_path))


@pytest.mark.parametrize("page", ["guide.md", "benchmark.md", "reference.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    headings = {generate.anchor(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        assert target.startswith("https://") or (ROOT / "docs" / path).exists(), target
        assert path or anchor in headings, target


def test_the_figures_in_the_guide_are_those_of_the_committed_report() -> None:
    report = (ROOT / "reports" / "quickstart" / "README.md").read_text()
    quoted = re.findall(r"(\.\d{3}) for\s+(KFAC|KPSVD)", GUIDE)
    assert quoted
    for method, error in quoted:
        assert re.search(rf"^\| {error.lower()} .*\| +0{method} \|", report, re.MULTILINE), error


def test_the_defaults_in_the_guide_are_measured_and_real() -> None:
    """Every loss quoted is one of the report's, and what is marked as the default is the library's."""
    report = (ROOT / "reports" / "defaults" / "README.md").read_text()
    section = GUIDE.partition("## Where the defaults come from")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| (✓?) ?\|$", section, re.MULTILINE)
    assert rows
    boards = re.split(r"^## (curves|mnist|faces)$", report, flags=re.MULTILINE)
    measured = {
        name: dict(re.findall(r"^\| +\**[\d—]+\** +\| +\**(\S+?)\** +\| +\**([\d.]+)\** ", page, re.MULTILINE))
        for name, page in zip(boards[1::2], boards[2::2], strict=True)
    }
    for setting, *losses, _ in rows:
        options = {"lr": "0.3", "damping": "0.1", "kl_clip": "0.1", **dict(re.findall(r"(\w+)=\"?([\w.]+)", setting))}
        if options.get("step_rule"):
            label = f"kpsvd-quadratic[damping={options['damping']}]"
        elif options.get("averaging", "factors") != "factors":
            label = f"kpsvd-averaged[damping={options['damping']},averaging={options['averaging']}]"
        elif options.get("guard") == "absolute":
            label = f"deflation-absolute[damping={options['damping']}]"
        elif options.get("guard") == "floor":
            label = f"deflation[damping={options['damping']},averaging=factors]"
        else:
            label = f"kpsvd[lr={options['lr']},damping={options['damping']},kl_clip={options['kl_clip']}]"
        label = label.replace("[", "\\[").replace("]", "\\]").replace("kl_clip", "kl\\_clip")
        assert losses == [measured[name][label] for name in ("curves", "mnist", "faces")], setting
    optimizer = kfsvd.KPSVD(torch.nn.Linear(2, 2), "gaussian")
    assert optimizer.param_groups[0]["lr"] == 0.3
    assert optimizer.param_groups[0]["damping"] == 0.1
    chosen = (optimizer.step_rule, optimizer.averaging, optimizer.damping.guard)
    assert chosen == (kfsvd.KLClip(0.1), "factors", "floor")
