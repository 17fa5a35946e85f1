"""What the Objects section decides.

No Qt: the widget shows it, tests run it without a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from napari_limn.errors import LimnError
from napari_limn.instances.adjustable import adjustable_events
from napari_limn.runs import BlockDone, Event

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_limn._napari.panel.run_view import RunView
    from napari_limn.instances.adjustable import AdjustableObjects, AdjustedObjects
    from napari_limn.volume.volume import Volume

SPLITS = (0.4, 0.98)
"""Ends of the slider: objects that touch are separated seldom, or often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectChoices:
    """What the form says.

    Parameters
    ----------
    value
        Of the class whose objects are wanted; None for all but background.
    split
        How readily objects that touch are separated; None for never.
    smallest
        Least size, as text; empty for any.
    """

    value: int | None
    split: float | None
    smallest: str

    @property
    def least(self) -> int | str | None:
        """Return the least size as a spec takes it."""
        text = self.smallest.strip()
        return int(text) if text.isdecimal() else text or None


class ObjectsView(Protocol):
    """What the controller asks of the widget."""

    def object_choices(self) -> ObjectChoices:
        """Return what the form says."""
        ...

    def sources(self) -> tuple[Volume, Volume | None, Any]:
        """Return labels, image, and an array of 32 bits to fill.

        Raises
        ------
        LimnError
            If there are no labels.
        """
        ...

    def painted(self) -> Volume:
        """Return the objects that the user painted whole.

        Raises
        ------
        LimnError
            If no layer of them is chosen.
        """
        ...

    def needed_layers(self) -> list[Any]:
        """Return the layers that a run needs, as chosen now."""
        ...

    def show_objects(self, basins: AdjustableObjects, objects: AdjustedObjects) -> None:
        """Show objects in a layer and in the table."""

    def set_split(self, split: float) -> None:
        """Move the slider."""

    def ask_where(self) -> Path | None:
        """Ask for the file of the table; None for no file."""
        ...


class ObjectsController:
    """Decides for the Objects section.

    Parameters
    ----------
    view
        The widget.
    box
        Runs what is decided, and shows sentences.

    Attributes
    ----------
    basins
        What the objects shown are made of; None while nothing was found.
    shown
        The objects shown.
    """

    def __init__(self, view: ObjectsView, box: RunView) -> None:
        self.view, self.box = view, box
        self.basins: AdjustableObjects | None = None
        self.shown: AdjustedObjects | None = None
        self._then: Callable[[], object] | None = None

    def start(self) -> None:
        """Find the objects of the labels chosen."""
        self._begin(None)

    def _begin(self, then: Callable[[], object] | None) -> None:
        labels, image, into = self.view.sources()
        value = self.view.object_choices().value
        run = adjustable_events(labels, image, into, None if value is None else (value,))
        self._then = then
        self.box.run(run, needs=self.view.needed_layers())
        self.box.say("Finding objects …")

    def on_event(self, event: Event) -> None:
        """Show how far the run is."""
        if isinstance(event, BlockDone):
            self.box.block_done(event)

    def on_result(self, result: Any) -> None:
        """Show what was found."""
        then, self._then = self._then, None
        if result is None:
            self.box.say("Cancelled.")
            return
        self.basins = result
        self.adjust()
        if then is not None:
            then()

    def on_error(self, error: Exception) -> None:
        """Show an error."""
        self._then = None
        self.box.report(error)

    def adjust(self) -> None:
        """Show the objects as the knobs are now; no voxel is computed."""
        if self.basins is None:
            return
        choices = self.view.object_choices()
        self.shown = self.basins.at(choices.split, choices.least)
        self.view.show_objects(self.basins, self.shown)
        self.box.say(f"{self._count()} Move the slider, or save the table.")

    def fit(self) -> None:
        """Choose the split by objects that the user painted whole."""
        if self.basins is None:
            raise LimnError("there are no objects yet, to fit the split of; press Find objects first.")
        split = self.basins.fit(self.view.painted())
        self.view.set_split(min(max(split, SPLITS[0]), SPLITS[1]))
        self.adjust()
        self.box.say(f"{self._count()} A split of {split:g} fits your objects best.")

    def _count(self) -> str:
        """Say how many objects are shown."""
        count = 0 if self.shown is None else self.shown.count
        return f"{count:,} object{'' if count == 1 else 's'}."

    def save(self) -> None:
        """Save the table; where nothing was found yet, find it first."""
        if self.shown is None:
            self._begin(self.save)
            return
        if (path := self.view.ask_where()) is not None:
            self.shown.table.save(path, replace=True)  # the dialog has asked
            self.box.say(f"{self._count()} The table is in {path}.")

    def forget(self) -> None:
        """Forget what was found: other labels, or another class, were chosen."""
        self.basins = self.shown = None
