"""`kfsvd-bench environment`: what is recorded about this machine."""

from __future__ import annotations

import dataclasses
import json as jsonlib

from tabulate import tabulate

from suite.errors import ExitCode


def environment(*, json: bool) -> ExitCode:
    """Print the environment that runs on this machine are recorded with."""
    from suite.environment import current_environment

    content = dataclasses.asdict(current_environment())
    if json:
        print(jsonlib.dumps(content, indent=2))
    else:
        print(tabulate([(key, "—" if value is None else value) for key, value in content.items()], tablefmt="plain"))
    return ExitCode.FINE
