"""The live view of a running matrix: a table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from suite.errors import printable

if TYPE_CHECKING:
    from suite.cell import Cell
    from suite.records import Records
    from suite.scheduling.slots import Slot

_FAILED = ("error", "oom", "timeout")


@dataclass
class _Running:
    cell: Cell
    slot: Slot
    since: float
    iteration: int = 0
    loss: float = float("nan")
    seconds: float = 0.0
    epoch: float = 0.0

    @property
    def share(self) -> float:
        """How much of the budget is used: the part of the bound that is nearest."""
        budget = self.cell.budget
        parts = [0.0]
        if budget.iterations is not None:
            parts.append(self.iteration / budget.iterations)
        if budget.seconds is not None:
            parts.append(self.seconds / budget.seconds)
        if budget.epochs is not None:
            parts.append(self.epoch / budget.epochs)
        return min(1.0, max(parts))


class PlainView:
    """One line for every cell that starts, ends or is worth a note; for logs and pipes."""

    def __init__(self, console: Console, total: int) -> None:
        self.console, self.total = console, total
        self.running: dict[str, _Running] = {}  # by the slot's name
        self.ended: list[tuple[Cell, str, float]] = []
        self.begun = time.monotonic()
        self.waiting = self.ended_elsewhere = 0  # cells of other commands
        self._notes: set[tuple[str, str]] = set()

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *_: object) -> None: ...

    def started(self, cell: Cell, slot: Slot) -> None:
        """A worker has taken the cell."""
        self.running[slot.name] = _Running(cell, slot, time.monotonic())

    def measured(self, cell: Cell, slot: Slot, records: Records) -> None:
        """Records of the cell have arrived."""
        if records.iterations and slot.name in self.running:
            state, last = self.running[slot.name], records.iterations[-1]
            state.iteration, state.loss, state.seconds, state.epoch = (
                last.iteration,
                last.loss,
                last.seconds,
                last.epoch,
            )

    def noted(self, cell: Cell, text: str) -> None:
        """Say a warning once per optimizer."""
        if (cell.optimizer, text) not in self._notes:
            self._notes.add((cell.optimizer, text))
            self._say(f"[yellow]note[/]  {escape(cell.optimizer)}: {escape(printable(text))}")

    def finished(self, cell: Cell, slot: Slot, status: str, error: str | None) -> None:
        """The cell is over: one line, with the last line of an error."""
        state = self.running.pop(slot.name)
        self.ended.append((cell, status, time.monotonic() - state.since))
        colour = {"done": "green", "diverged": "magenta", "interrupted": "yellow"}.get(status, "red")
        line = (
            f"[{colour}]{status:<11}[/] {len(self.ended)}/{self.total}  {escape(cell.name)}  "
            f"{state.iteration} iterations, loss {state.loss:.4g}, {state.seconds:.1f} s on {slot.name}"
        )
        if error:
            line += f"\n            {escape(printable(error.strip()).splitlines()[-1])}"
        self._say(line)

    def elsewhere(self, waiting: int, ended: int) -> None:
        """Say once that nothing is left but what others run."""
        if waiting and not self.waiting:
            self._say(f"[yellow]waiting[/]     for {waiting} cells that other commands on this store run")
        self.waiting, self.ended_elsewhere = waiting, ended

    def held(self) -> None:
        """Say that no cell is begun yet."""
        self._say("[yellow]waiting[/]     for other commands on this host: `timing: exclusive` is alone on it")

    def refresh(self) -> None:
        """Nothing to redraw."""

    def stopping(self) -> None:
        """Say what happens to what is measured."""
        self._say("[yellow]stopping[/]: what is measured is kept; Ctrl-C again to stop at once")

    def seconds_left(self) -> float | None:
        """Mean seconds of the cells that ended, for those that are left, shared by the slots at work."""
        if not self.ended:
            return None
        mean = sum(seconds for _, _, seconds in self.ended) / len(self.ended)
        waiting = max(0, self.total - len(self.ended) - len(self.running) - self.waiting - self.ended_elsewhere)
        now = time.monotonic()
        ahead = waiting * mean + sum(max(0.0, mean - (now - r.since)) for r in self.running.values())
        return ahead / max(1, len(self.running))

    def _say(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True)


class LiveView(PlainView):
    """A table of what runs, redrawn four times a second, above the lines of `PlainView`."""

    def __init__(self, console: Console, total: int) -> None:
        super().__init__(console, total)
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._render, transient=True)

    def __enter__(self) -> LiveView:
        self._live.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.__exit__(None, None, None)

    def _render(self) -> Group:
        table = Table(box=None, padding=(0, 1), expand=False)
        for heading in ("slot", "cell", "iteration", "loss", "it/s", "budget"):
            table.add_column(heading, justify="right" if heading in ("iteration", "loss", "it/s") else "left")
        for state in sorted(self.running.values(), key=lambda r: r.slot.name):
            rate = state.iteration / state.seconds if state.seconds else 0.0
            table.add_row(
                state.slot.name,
                Text(state.cell.name),
                f"{state.iteration:,}",
                f"{state.loss:.4g}" if state.iteration else "…",
                f"{rate:,.0f}" if rate else "…",
                ProgressBar(total=1.0, completed=state.share, width=16),
            )
        failed = sum(status in _FAILED for _, status, _ in self.ended)
        left = self.seconds_left()
        summary = Text(f"{len(self.ended)} of {self.total} cells ended", style="bold")
        summary.append(f"   {failed} failed", style="red" if failed else "dim")
        if self.waiting or self.ended_elsewhere:
            summary.append(f"   other commands: {self.waiting} running, {self.ended_elsewhere} ended", style="yellow")
        summary.append(f"   running for {_duration(time.monotonic() - self.begun)}", style="dim")
        summary.append(f"   about {_duration(left)} left" if left is not None else "", style="dim")
        bar = Table.grid()
        bar.add_row(ProgressBar(total=max(1, self.total), completed=len(self.ended), width=60))
        return Group(table, bar, summary)


def view_for(console: Console, total: int) -> LiveView | PlainView:
    """The live table in a terminal, plain lines elsewhere."""
    return LiveView(console, total) if console.is_terminal else PlainView(console, total)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
