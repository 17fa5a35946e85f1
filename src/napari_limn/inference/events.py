"""Events of a prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_limn.runs import Event

if TYPE_CHECKING:
    from napari_limn.inference.planning.plan import Plan
    from napari_limn.volume.writing.output import FileOutput
    from napari_limn.volume.writing.view import OutputView


@dataclass(frozen=True, slots=True)
class Planned(Event):
    """What the prediction is going to cost."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Writing(Event):
    """The file is being written from now on.

    ``output.levels`` show what there is of it, in any thread.

    A listener in another process gets an :class:`~napari_limn.volume.writing.view.OutputView`, with the same `path` and `levels`.
    """

    output: FileOutput | OutputView


@dataclass(frozen=True, slots=True)
class Viewing(Event):
    """What is predicted for the view goes into `array` from now on.

    It has the axes of the image; 0 is not predicted yet.
    """

    array: Any
