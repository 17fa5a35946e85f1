"""Listening to napari for a while: what is heard, and how it ends."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def connected(told: Any, act: Callable[..., object]) -> Callable[[], object]:
    """Call `act` when napari tells something, until what is returned is called."""
    told.connect(act)
    return partial(told.disconnect, act)


def call_all(acts: list[Callable[[], object]], *_: Any) -> None:
    """Call each, the last first, and forget it."""
    while acts:
        acts.pop()()
