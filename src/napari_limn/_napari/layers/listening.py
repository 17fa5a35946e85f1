"""Listening to napari's events for a while, and how that ends."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def connected(event: Any, act: Callable[..., object]) -> Callable[[], object]:
    """Call `act` at an event; return what ends that."""
    event.connect(act)
    return partial(event.disconnect, act)


def call_all(acts: list[Callable[[], object]], *_: Any) -> None:
    """Call each, the last first, and forget it."""
    while acts:
        acts.pop()()
