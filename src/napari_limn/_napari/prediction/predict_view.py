"""What Predict's widget and its controller ask of each other.

No Qt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from napari_limn.inference.spec import PredictSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_limn.model import Model
    from napari_limn.specs import DeviceName, Precision
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictChoices:
    """What the form says.

    Parameters
    ----------
    model
        Name of the model.
    images
        Names of the image layers by identity, channel by channel.
    out
        The file to write; None to predict into memory.
    overwrite
        Whether to replace that file.
    memory, precision, device
        As in :class:`~napari_limn.inference.spec.PredictSpec`.
    """

    model: str
    images: dict[str, str]
    out: Path | None
    overwrite: bool
    memory: str
    precision: Precision
    device: DeviceName

    def spec(self) -> PredictSpec:
        """Return how to predict."""
        return PredictSpec(memory=self.memory, precision=self.precision, device=self.device)


class PredictView(Protocol):
    """What the controller asks of the widget."""

    @property
    def showing(self) -> bool:
        """Return whether a layer of the run is shown."""
        ...

    def choices(self) -> PredictChoices:
        """Return what the form says; a LimnError if no image is chosen."""
        ...

    def volume(self) -> Volume:
        """Return the image chosen, with its channels."""
        ...

    def needed_layers(self) -> list[Any]:
        """Return the layers that a run needs, as chosen now."""
        ...

    def begin(self, volume: Volume, model: Model, name: str) -> None:
        """Predict this image by this model from now on.

        Nothing is shown yet.
        """

    def refuse(self, path: Path, *, overwrite: bool) -> None:
        """Raise a LimnError if a layer forbids writing this file."""

    def empty(self, volume: Volume, model: Model) -> Any:
        """Return an array of zeros for the labels."""

    def take_over(self, volume: Volume, model: Model, data: Any) -> list[Box]:
        """Copy what live mode predicted into `data`; return its boxes."""
        ...

    def show_in_memory(self, data: Any) -> None:
        """Show an array that is being filled.

        In the place of what was shown before.
        """

    def show_written(self, levels: Sequence[Any], path: Path) -> None:
        """Show the levels of a file that is being written."""

    def show_finished(self, path: Path) -> None:
        """Show a file in a layer of its own."""

    def file_finished(self, path: Path) -> None:
        """Let layers of a file in the making show the finished one."""

    def block_done(self, box: Box) -> None:
        """Show a block that is done."""

    def refresh(self) -> None:
        """Show all blocks that are done."""

    def finished(self) -> None:
        """Note that the layer of the run is complete."""

    def allow_painting(self) -> None:
        """Let the user paint: no block will come."""

    def show_seams(self, text: str) -> None:
        """Show what the check of seams found."""
