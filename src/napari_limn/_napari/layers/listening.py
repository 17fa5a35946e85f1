"""Listening to napari's events for a while, and how that ends."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari.layers import Layer

_TRANSFORMS = ("scale", "translate", "rotate", "shear", "affine")


def connected(event: Any, act: Callable[..., object]) -> Callable[[], object]:
    """Call `act` at an event; return what ends that."""
    event.connect(act)
    return partial(event.disconnect, act)


def on_moved(layers: Iterable[Layer | None], act: Callable[..., object]) -> list[Callable[[], object]]:
    """Call `act` when a layer moves or turns; return what ends that."""
    there = [layer for layer in layers if layer is not None]
    return [connected(getattr(layer.events, name), act) for layer in there for name in _TRANSFORMS]


def call_all(acts: list[Callable[[], object]], *_: Any) -> None:
    """Call each, the last first, and forget it."""
    while acts:
        acts.pop()()
