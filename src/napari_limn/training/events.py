"""Events of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_limn.runs import Event

if TYPE_CHECKING:
    from napari_limn.model import Model


@dataclass(frozen=True, slots=True)
class Waiting(Event):
    """The run rests until there is more paint; why.

    In one sentence.
    """

    message: str


@dataclass(frozen=True, slots=True)
class Repainted(Event):
    """New paint was seen.

    Training goes on with it from here if it `counts`.
    """

    counts: bool


@dataclass(frozen=True, slots=True)
class Step(Event):
    """One optimiser step.

    Its number from 1, seconds since the start, loss, and share of the budget spent (0–1).
    """

    step: int
    seconds: float
    loss: float
    done: float


@dataclass(frozen=True, slots=True)
class Scored(Event):
    """Score of the held-out strokes after `step` steps.

    Mean IoU, 0–1, and whether the model was kept as the best.
    """

    step: int
    seconds: float
    score: float
    best: bool


@dataclass(frozen=True, slots=True)
class Improved(Event):
    """The best model so far.

    It is what a user keeps who stops now.
    """

    model: Model
