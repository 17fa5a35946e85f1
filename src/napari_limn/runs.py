"""What a run reports while it works, as frozen events.

Command line, window, cluster and tests all read them.

A run is a generator of these; closing the generator cancels it. :func:`drain` runs one to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Generator  # noqa: TC003 checked evaluates annotations
from dataclasses import dataclass
from typing import TypeVar

from napari_limn.arguments import checked

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Event:
    """Anything a run yields."""


@dataclass(frozen=True, slots=True)
class Warned(Event):
    """The run goes on, but the user should know this sentence."""

    message: str


@dataclass(frozen=True, slots=True)
class Noted(Event):
    """Something that was decided for the user, in one sentence.

    They may want to know it.
    """

    message: str


@dataclass(frozen=True, slots=True)
class Working(Event):
    """Nothing new since a quarter of a second.

    A listener that wants to cancel can do so now.
    """


@dataclass(frozen=True, slots=True)
class BlockDone(Event):
    """Block `done` of `total` is written.

    `box` is its place on the TZYX grid.
    """

    box: tuple[tuple[int, int], ...]
    done: int
    total: int
    seconds: float


@checked
def drain(run: Generator[Event, None, T], listen: Callable[[Event], object] | None = None) -> T:
    """Run to the end and return what the run returns.

    Every event is handed to `listen`.
    """
    while True:
        try:
            event = next(run)
        except StopIteration as end:
            result: T = end.value
            return result
        if listen is not None:
            listen(event)
