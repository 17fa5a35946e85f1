"""Entries of the menu that lead to a step.

Why: people, tutorials and scripts know these six names. napari gives each of them a dock; that one goes as soon as it is shown, and
the Limn dock is unfolded at the step where the controls are.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QDockWidget, QWidget

from napari_limn._napari.objects.objects import ObjectsWidget
from napari_limn._napari.painting.classes import ClassesWidget
from napari_limn._napari.painting.strokes import StrokesWidget
from napari_limn._napari.prediction.compare import CompareWidget
from napari_limn._napari.prediction.predict import PredictWidget
from napari_limn._napari.prediction.review import ReviewWidget
from napari_limn._napari.training.train import TrainWidget

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_limn._napari.dock.dock import LimnWidget


def open_dock(viewer: Viewer) -> LimnWidget:
    """Show the Limn dock of a window, and return it."""
    widget: LimnWidget
    dock, widget = viewer.window.add_plugin_dock_widget("napari-limn", "Limn")
    dock.show()
    dock.raise_()
    return widget


class Door(QWidget):
    """Leads to a section of the dock.

    It has the attributes of the section.

    Parameters
    ----------
    napari_viewer
        Of the window.
    """

    step: ClassVar[str]
    section: ClassVar[str] = ""
    kind: ClassVar[type[QWidget]]

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.setMaximumHeight(0)
        self._viewer = napari_viewer
        self._section: QWidget | None = None

    def showEvent(self, event: Any) -> None:
        """Go through, once napari has docked it."""
        super().showEvent(event)
        QTimer.singleShot(0, self._go)

    def _go(self) -> None:
        dock = self.parent()
        if self._section is None:
            self._open()
        if isinstance(dock, QDockWidget):
            with suppress(LookupError):
                self._viewer.window.remove_dock_widget(self)

    def _open(self) -> QWidget:
        widget = open_dock(self._viewer)
        widget.unfold(self.step, self.section)
        self._section = widget.sections[self.kind]
        return self._section

    def __getattr__(self, name: str) -> Any:
        """Look in the section; Python asks for what is not found here."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__dict__.get("_section") or self._open(), name)


class StrokesDoor(Door):
    """Leads to the strokes."""

    step, kind = "paint", StrokesWidget


class ClassesDoor(Door):
    """Leads to the classes."""

    step, kind = "paint", ClassesWidget


class TrainDoor(Door):
    """Leads to training."""

    step, kind = "learn", TrainWidget


class ReviewDoor(Door):
    """Leads to places to paint next, and to the audit."""

    step, section, kind = "check", "review", ReviewWidget


class CompareDoor(Door):
    """Leads to the comparison of predictions."""

    step, section, kind = "check", "compare", CompareWidget


class PredictDoor(Door):
    """Leads to predictions."""

    step, section, kind = "apply", "predict", PredictWidget


class ObjectsDoor(Door):
    """Leads to objects and their table."""

    step, section, kind = "apply", "objects", ObjectsWidget
