"""What a run tells while it works: frozen records that command line, window, cluster and tests all read.

A run is a generator of these; closing the generator cancels it. :func:`drain` runs one to its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Event:
    """Anything a run yields."""


@dataclass(frozen=True, slots=True)
class Warned(Event):
    """The run goes on, but the person should know this one sentence."""

    message: str


@dataclass(frozen=True, slots=True)
class Noted(Event):
    """Something that was decided for the person and that they may want to know, in one sentence."""

    message: str


@dataclass(frozen=True, slots=True)
class Working(Event):
    """Nothing new since a quarter of a second; whoever wants to cancel can do so now."""


@dataclass(frozen=True, slots=True)
class BlockDone(Event):
    """Block `done` of `total` is written; `box` is its place on the TZYX grid."""

    box: tuple[tuple[int, int], ...]
    done: int
    total: int
    seconds: float


def drain(run: Generator[Event, None, T], listen: Callable[[Event], object] | None = None) -> T:
    """Run to the end, hand every event to `listen`, return what the run returns."""
    while True:
        try:
            event = next(run)
        except StopIteration as end:
            result: T = end.value
            return result
        if listen is not None:
            listen(event)
