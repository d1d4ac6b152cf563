"""YAML as a spec needs it: safe, without surprises, and with the line of every key.

Mappings, lists and plain values only. Numbers, booleans and null are those of YAML 1.2's core schema
(`1e-3` is a number; `on`, `yes`, `010`, `1_000`, `1:30` and `2024-01-01` are text). Tags, anchors,
aliases, keys that are not text and duplicate keys are faults.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from yaml import events
from yaml.error import MarkedYAMLError, YAMLError
from yaml.reader import ReaderError

from suite.errors import shown
from suite.spec.faults import Fault, KeyPath, SpecError, key_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LARGEST_FILE = 256 * 1024  # bytes
DEEPEST_NESTING = 20  # mappings and lists within each other
LARGEST_INTEGER = 2**63 - 1  # what a database and a random generator can hold

Data = None | bool | int | float | str | list["Data"] | dict[str, "Data"]


class Position(NamedTuple):
    """Line and column, both from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Document:
    """The content of a YAML file, and where each key and list item stands in it."""

    path: Path
    text: str
    data: Data
    positions: dict[KeyPath, Position]
    faults: tuple[Fault, ...] = field(default=())

    def position(self, path: KeyPath) -> Position:
        """Where `path` stands, or the nearest thing around it that the file holds."""
        while path and path not in self.positions:
            path = path[:-1]
        return self.positions.get(path, Position(1, 1))

    def located(self, fault: Fault) -> str:
        """`file:line: key.path: what is wrong`."""
        place = f"{self.path}:{fault.line or self.position(fault.path).line}: "
        return f"{place}{key_path(fault.path)}: {fault.text}" if fault.path else f"{place}{fault.text}"


def read(path: Path) -> Document:
    """The YAML document in the file `path`; faults that leave the rest readable are in `Document.faults`.

    Raises:
        SpecError: the file cannot be read, is too large, is not UTF-8, or is not YAML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise SpecError([f"{path}: cannot be read: {(error.strerror or str(error)).lower()}"]) from None
    except ValueError as error:  # a NUL in the name
        raise SpecError([f"{str(path)!r}: cannot be read: {error}"]) from None
    if len(content) > LARGEST_FILE:
        raise SpecError([f"{path}: is larger than {LARGEST_FILE // 1024} KiB, the most that a spec may have"])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecError([f"{path}:{line}: is not UTF-8 text (byte 0x{content[error.start]:02x})"]) from None
    return parse(text, path)


def parse(text: str, path: Path) -> Document:
    """The YAML document in `text`; `path` is its name in messages.

    Raises:
        SpecError: `text` is not one YAML document, or is nested too deeply.
    """
    builder = _Builder(text)
    try:
        data = builder.document()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise SpecError([f"{path}:{mark.line + 1 if mark else 1}: not valid YAML: {problem}"]) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SpecError([f"{path}:{line}: not valid YAML: unprintable character U+{error.character:04X}"]) from None
    except (YAMLError, ValueError, OverflowError) as error:  # e.g. "\UFFFFFFFF", no character at all
        raise SpecError([f"{path}:{builder.line}: not valid YAML: {error}"]) from None
    return Document(path, text, data, builder.positions, tuple(builder.faults))


_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def resolve(value: str) -> Data:
    """The value of an unquoted scalar.

    Raises:
        ValueError: a whole number that does not fit in 64 bits.
    """
    if value in _NULL:
        return None
    if value in _BOOL:
        return _BOOL[value]
    if _INTEGER.fullmatch(value):
        if len(value) > 20 or abs(int(value)) > LARGEST_INTEGER:
            raise ValueError(f"{shown(value)} is beyond the largest whole number, {LARGEST_INTEGER}")
        return int(value)
    if _FLOAT.fullmatch(value):
        return float(value)
    if _SPECIAL.fullmatch(value):
        return float(value.replace(".", ""))
    return value


class _Builder:
    """Plain data from PyYAML's events; its composer would resolve aliases and its constructor tags."""

    def __init__(self, text: str) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)
        self.line = 1
        self.positions: dict[KeyPath, Position] = {}
        self.faults: list[Fault] = []

    def document(self) -> Data:
        """The one document of the stream; null for an empty one."""
        self._next()  # start of the stream
        event = self._next()
        if isinstance(event, events.StreamEndEvent):
            self.faults.append(Fault((), "is empty"))
            return None
        data = self._node(self._next(), ())
        self._next()  # end of the document
        event = self._next()
        if not isinstance(event, events.StreamEndEvent):
            raise _stop(event, "a second document begins; a spec is one")
        return data

    def _next(self) -> Any:
        event = next(self._events)
        self.line = event.start_mark.line + 1
        return event

    def _fault(self, path: KeyPath, text: str) -> None:
        self.faults.append(Fault(path, text, self.line))

    def _node(self, event: Any, path: KeyPath) -> Data:
        self.positions.setdefault(path, _position(event))
        if isinstance(event, events.AliasEvent):
            self._fault(path, f"aliases (*{event.anchor}) are not allowed; repeat the value")
            return None
        if event.anchor is not None:
            self._fault(path, f"anchors (&{event.anchor}) are not allowed")
        if event.tag is not None:
            self._fault(path, f"tags ({event.tag}) are not allowed")
        if isinstance(event, events.ScalarEvent):
            return self._scalar(event, path)
        if len(path) >= DEEPEST_NESTING:
            raise _stop(event, f"nested more than {DEEPEST_NESTING} deep")
        return self._list(path) if isinstance(event, events.SequenceStartEvent) else self._mapping(path)

    def _scalar(self, event: events.ScalarEvent, path: KeyPath) -> Data:
        if not _encodable(event.value):
            self._fault(path, f"holds half a character: {shown(event.value)}")
            return None
        if event.style is not None:
            return event.value
        try:
            return resolve(event.value)
        except ValueError as error:
            self._fault(path, str(error))
            return None

    def _list(self, path: KeyPath) -> Data:
        items: list[Data] = []
        while not isinstance(event := self._next(), events.SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        return items

    def _mapping(self, path: KeyPath) -> Data:
        items: dict[str, Data] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := self._next(), events.MappingEndEvent):
            key = self._key(event, path)
            if key is None:
                self._node(self._next(), (*path, "?"))
                continue
            first = lines.setdefault(key, self.line)
            if key in items:
                self._fault((*path, key), f"duplicate key; it is also on line {first}")
            self.positions.setdefault((*path, key), _position(event))
            value = self._node(self._next(), (*path, key))
            items.setdefault(key, value)
        return items

    def _key(self, event: Any, path: KeyPath) -> str | None:
        """The text of a key; a number or the like is read as text after its fault has been noted."""
        if not isinstance(event, events.ScalarEvent):
            self._fault(path, "a key must be text, not a list, a mapping or an alias")
            self._node(event, (*path, "?"))
            return None
        if event.anchor is not None or event.tag is not None:
            self._fault(path, f"a key can have no anchor and no tag: {shown(event.value)}")
        before = len(self.faults)
        value = self._scalar(event, path)
        if isinstance(value, str):
            return value
        if len(self.faults) == before:
            self._fault(path, f"a key must be text; put quotes around {event.value or 'it'}")
        return event.value if _encodable(event.value) else None


def _position(event: Any) -> Position:
    return Position(event.start_mark.line + 1, event.start_mark.column + 1)


def _stop(event: Any, problem: str) -> MarkedYAMLError:
    return MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def _encodable(text: str) -> bool:
    """Whether `text` is free of lone surrogates, which an escape for U+D800 can make."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
