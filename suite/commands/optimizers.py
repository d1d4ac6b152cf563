"""`kfsvd-bench optimizers`: the methods that a spec can name."""

from __future__ import annotations

import inspect
import json as jsonlib
from typing import Any

from tabulate import tabulate

from suite.errors import ExitCode, SuiteError
from suite.hints import did_you_mean
from suite.methods import METHODS


def optimizers(name: str | None, *, json: bool) -> ExitCode:
    """List all methods, or show the options of one.

    Raises:
        SuiteError: no method has that name.

    """
    if name is not None and name not in METHODS:
        raise SuiteError(f"unknown method {name!r}{did_you_mean(name, METHODS)}")
    chosen = METHODS if name is None else {name: METHODS[name]}
    options = {method: _options(method) for method in chosen}
    if json:
        print(jsonlib.dumps(options, indent=2))
    elif name is None:
        print(tabulate([(method, _summary(method)) for method in chosen], headers=("method", "what it is")))
        print("\nkfsvd-bench optimizers METHOD shows the options of one.")
    else:
        print(f"{name}: {_summary(name)}\n")
        print(tabulate(options[name], headers="keys", missingval="—", maxcolwidths=[None, None, 70]))
    return ExitCode.FINE


def _summary(method: str) -> str:
    text = inspect.getdoc(METHODS[method]) or ""
    return text.split("\n\n")[0].replace("\n", " ")


def _options(method: str) -> list[dict[str, Any]]:
    return [
        {
            "option": name,
            "default": "required" if field.is_required() else field.default,
            "meaning": field.description,
        }
        for name, field in METHODS[method].model_fields.items()
        if name != "method"
    ]
