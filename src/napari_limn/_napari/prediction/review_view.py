"""What Review's widget and its controller ask of each other.

No Qt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from napari_limn._napari.prediction.audit_progress import AuditProgress
    from napari_limn.evaluation.audit import Frame
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedLabels:
    """The labels that are chosen to be audited.

    Parameters
    ----------
    name
        Of their layer.
    unfinished
        Whether their prediction did not come to its end.
    model
        Name of the model that predicted them; None if that is not known.
    class_names
        Names that the layer gives its values.
    """

    name: str
    unfinished: bool
    model: str | None
    class_names: dict[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewButtons:
    """Which buttons are lit, besides those that start and stop."""

    take: bool
    asking: bool
    finish: bool
    correct: bool
    accept_text: str


class AuditShown(Protocol):
    """An audit that the window shows."""

    progress: AuditProgress

    @property
    def alive(self) -> bool:
        """Return whether the labels are still there."""
        ...

    def next(self) -> bool:
        """Show the next patch; return False when every one was seen."""
        ...

    def accept(self) -> int:
        """Take the patch as right; return how many pixels were corrected."""
        ...

    def correct(self) -> None:
        """Let the user paint over the patch."""

    def skip(self) -> None:
        """Pass over the patch."""

    def sentences(self) -> list[str]:
        """Return what is known of each class."""
        ...

    def close(self) -> None:
        """Take the box away."""

    def finish(self) -> None:
        """Take all layers of the audit away; choose the former one."""


class ReviewView(Protocol):
    """What the controller asks of the widget."""

    @property
    def map_axes(self) -> str | None:
        """Return the axes of the map, None if it is gone."""
        ...

    def model_name(self) -> str:
        """Return the name of the model chosen."""
        ...

    def image_names(self) -> dict[str, str]:
        """Return the names of the image layers by identity.

        Channel by channel; a LimnError if there is none.
        """
        ...

    def volume(self) -> Volume:
        """Return the image chosen, with its channels."""
        ...

    def strokes(self, volume: Volume) -> Volume | None:
        """Return the strokes chosen, on the grid of the image.

        None if a user painted none of them.
        """
        ...

    def layers_of_map(self) -> list[Any]:
        """Return the layers that a map is made of, as chosen now."""
        ...

    def begin_map(self, volume: Volume) -> Any:
        """Remember the image chosen; return zeros for its map."""

    def show_map(self, model: str, volume: Volume, data: Any) -> None:
        """Show a map that is being filled.

        In the place of the one before.
        """

    def block_done(self, box: Box) -> None:
        """Show a block that is done."""

    def refresh(self) -> None:
        """Show all blocks that are done."""

    def look_at(self, box: Box) -> None:
        """Move the view to a box, ready to paint strokes."""

    def audited(self) -> AuditedLabels | None:
        """Return what is chosen to be audited."""
        ...

    def take_audited(self) -> Volume:
        """Remember what is chosen to be audited, and return its labels."""
        ...

    def layers_of_audit(self) -> list[Any]:
        """Return the layer that an audit is made of."""
        ...

    def begin_audit(self, frame: Frame, class_names: dict[int, str]) -> AuditShown:
        """Show an audit of the labels taken."""
        ...

    def show_estimate(self, text: str) -> None:
        """Show what is known of each class."""

    def set_buttons(self, buttons: ReviewButtons) -> None:
        """Light the buttons that can be pressed."""
