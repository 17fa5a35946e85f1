"""What stands in each step, from top to bottom."""

from __future__ import annotations

from typing import Any, NamedTuple

from napari_limn._napari.dock.overlay_bar import OverlayBar
from napari_limn._napari.objects.objects import ObjectsWidget
from napari_limn._napari.painting.classes import ClassesWidget
from napari_limn._napari.painting.strokes import StrokesWidget
from napari_limn._napari.prediction.compare import CompareWidget
from napari_limn._napari.prediction.predict import PredictWidget
from napari_limn._napari.prediction.review import ReviewWidget
from napari_limn._napari.training.train import TrainWidget


class Section(NamedTuple):
    """What stands in a step.

    A form follows the image worked on, and says what it does in the header.

    Parameters
    ----------
    kind
        Makes it, from the viewer.
    name, title, tip
        Of a head of its own, by which it folds; without a title it has none.
    """

    kind: type[Any]
    name: str = ""
    title: str = ""
    tip: str = ""


SECTIONS: dict[str, tuple[Section, ...]] = {
    "paint": (Section(ClassesWidget), Section(StrokesWidget)),
    "learn": (Section(TrainWidget),),
    "check": (
        Section(OverlayBar),
        Section(ReviewWidget, "review", "Doubts and patches", "Where the model is unsure; how good it is"),
        Section(CompareWidget, "compare", "Compare", "Two predictions of the image, and where they differ"),
    ),
    "apply": (
        Section(PredictWidget, "predict", "Labels", "Label the whole image, and write the labels to a file"),
        Section(ObjectsWidget, "objects", "Objects", "Number and measure the objects of a class"),
    ),
}
"""Sections by step."""

HEADS = {
    "paint": ("1  Paint", "Name the classes and paint a few strokes of each, background too"),
    "learn": ("2  Learn", "Train on the strokes: live while you paint, or for a while"),
    "check": ("3  Check", "See where the model is unsure, judge patches, compare predictions"),
    "apply": ("4  Apply", "Label the whole image; number and measure its objects"),
}
"""Title and tooltip of each step."""

HELP = (
    "1 Paint: an image that you open gets a layer for strokes. Paint a few strokes of two classes.\n"
    "2 Learn: then the answer is there, and follows your strokes. Train takes longer and gets better.\n"
    "3 Check: look where the model is unsure, correct, or judge random patches.\n"
    "4 Apply: label the whole image, write the labels to a file, number and measure objects."
)
"""A sentence for each step."""
