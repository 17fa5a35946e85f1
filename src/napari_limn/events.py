"""What a run tells while it works: frozen records that command line, window, cluster and tests all read.

A run is a generator of these; closing the generator cancels it. :func:`drain` runs one to its end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_limn.annotation.findings import Finding
    from napari_limn.inference.planning.plan import Plan
    from napari_limn.model import Model
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.writing.output import FileOutput


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Event:
    """Anything a run yields."""


@dataclass(frozen=True, slots=True)
class Warned(Event):
    """The run goes on, but the person should know this one sentence."""

    message: str


@dataclass(frozen=True, slots=True)
class Found(Warned):
    """A warning that comes with what mends it."""

    finding: Finding

    @classmethod
    def of(cls, finding: Finding) -> Found:
        """The event that tells a finding."""
        return cls(str(finding), finding)


@dataclass(frozen=True, slots=True)
class Noted(Event):
    """Something that was decided for the person and that they may want to know, in one sentence."""

    message: str


@dataclass(frozen=True, slots=True)
class Working(Event):
    """Nothing new since a quarter of a second; whoever wants to cancel can do so now."""


@dataclass(frozen=True, slots=True)
class Waiting(Event):
    """The run rests until there is more paint; why, in one sentence."""

    message: str


@dataclass(frozen=True, slots=True)
class Repainted(Event):
    """New paint was noticed; or, if it `counts`, training goes on with it from here."""

    counts: bool


@dataclass(frozen=True, slots=True)
class Step(Event):
    """One optimiser step: its number from 1, seconds since the start, loss, and share of the budget spent (0–1)."""

    step: int
    seconds: float
    loss: float
    done: float


@dataclass(frozen=True, slots=True)
class Scored(Event):
    """Score of the held-out strokes (mean IoU, 0–1) after `step` steps, and whether the model was kept as the best."""

    step: int
    seconds: float
    score: float
    best: bool


@dataclass(frozen=True, slots=True)
class Improved(Event):
    """The best model so far: what a person keeps who stops now."""

    model: Model


@dataclass(frozen=True, slots=True)
class Planned(Event):
    """What the prediction is going to cost."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Writing(Event):
    """The file is being written from now on; ``output.levels`` show, in whatever thread, what there is of it."""

    output: FileOutput


@dataclass(frozen=True, slots=True)
class Viewing(Event):
    """What is predicted for the view goes into `array`, in the axes of the image, from now on; 0 is not predicted yet."""

    array: Any


@dataclass(frozen=True, slots=True)
class BlockDone(Event):
    """Block `done` of `total` is written; `box` is its place on the TZYX grid."""

    box: Box
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
