"""Plain data for checkpoints: inverses and samples as dictionaries, which `torch.load(weights_only=True)` reads."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import torch

from kfsvd.inverse.damped import DampedInverse
from kfsvd.network.samples import LayerSamples
from kfsvd.optimizers.scaling import AdamMoments

if TYPE_CHECKING:
    from collections.abc import Iterator

_KIND = "kind"


def plain(value: Any) -> Any:
    """A value in tensors, numbers, names, lists and dictionaries.

    Raises:
        TypeError: it holds something else.

    """
    if is_dataclass(value) and not isinstance(value, type):
        named = {field.name: plain(getattr(value, field.name)) for field in fields(value)}
        return {_KIND: type(value).__name__, **named}
    if isinstance(value, tuple | list):
        return [plain(part) for part in value]
    if value is None or isinstance(value, torch.Tensor | bool | int | float | str):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be part of a checkpoint: inverses are dataclasses of tensors")


def restored(state: Any, device: torch.device) -> Any:
    """What `plain` was given, its tensors on `device` and copies of their own; lists come back as tuples.

    Raises:
        ValueError: it holds an inverse of a kind that is not defined here.

    """
    if isinstance(state, torch.Tensor):
        return state.to(device, copy=True)
    if isinstance(state, list):
        return tuple(restored(part, device) for part in state)
    if not isinstance(state, dict):
        return state
    values = {name: restored(value, device) for name, value in state.items() if name != _KIND}
    if _KIND not in state:
        return values
    kinds = {kind.__name__: kind for kind in (LayerSamples, AdamMoments, *_subclasses(DampedInverse))}
    if state[_KIND] not in kinds:
        raise ValueError(f"the state holds a {state[_KIND]}, which is not defined in this program")
    return kinds[state[_KIND]](**values)


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
