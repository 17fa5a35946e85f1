"""What Train's widget and its controller ask of each other.

No Qt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from napari_limn.training.spec import Preset, TrainSpec

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_limn.annotation.classes import ZeroMeaning
    from napari_limn.annotation.findings import Finding, Remedy
    from napari_limn.annotation.legend import Legend
    from napari_limn.model import Model
    from napari_limn.runs import Event
    from napari_limn.specs import DeviceName

NEW = "a new model"
"""What the choice of a model to start from says where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainChoices:
    """What the form says.

    Parameters
    ----------
    images
        Names of the image layers by identity, channel by channel.
    labels
        Name of the labels layer; None if there is none.
    untouched
        Whether that layer is a prediction that nobody corrected.
    origin
        Name of the model to start from, or :data:`NEW`.
    seconds, zero, dims, objects, preset, device
        As in :class:`~napari_limn.training.spec.TrainSpec`.
    """

    images: dict[str, str]
    labels: str | None
    untouched: bool
    origin: str
    seconds: float
    zero: ZeroMeaning
    dims: Literal[2, 3]
    objects: bool
    preset: Preset
    device: DeviceName

    @property
    def zero_meaning(self) -> ZeroMeaning:
        """Return what a 0 means: in numbered objects, it is background."""
        return "background" if self.objects else self.zero

    def spec(self) -> TrainSpec:
        """Return how to train."""
        return TrainSpec(
            seconds=self.seconds,
            zero=self.zero_meaning,
            dims=self.dims,
            objects=self.objects,
            preset=self.preset,
            device=self.device,
        )


class FindingsView(Protocol):
    """The list of findings."""

    @property
    def shown(self) -> tuple[Finding, ...]:
        """Return what is listed."""
        ...

    def show_all(self, findings: list[Finding]) -> None:
        """List these and no others."""

    def add(self, finding: Finding) -> None:
        """List one more."""

    def stops(self, sentence: str) -> bool:
        """Return whether a listed finding with this sentence stops training."""
        ...


class CurveView(Protocol):
    """The curves of loss and score."""

    def add_loss(self, seconds: float, loss: float) -> None:
        """Add a point to the loss."""

    def add_score(self, seconds: float, score: float) -> None:
        """Add a point to the score."""


class TrainView(Protocol):
    """What the controller asks of the widget."""

    @property
    def findings(self) -> FindingsView:
        """Return the list of findings."""
        ...

    @property
    def curve(self) -> CurveView:
        """Return the curves."""
        ...

    @property
    def legend(self) -> Legend | None:
        """Return what the user says of the classes followed.

        None before there is a layer.
        """
        ...

    def choices(self) -> TrainChoices:
        """Return what the form says; a LimnError if no image is chosen."""
        ...

    def needed_layers(self) -> list[Any]:
        """Return the layers that a run needs, as chosen now."""
        ...

    def begin(self, zero: ZeroMeaning) -> None:
        """Make ready for a run on the labels layer chosen.

        Its 0 means `zero`.
        """

    def training(self, spec: TrainSpec, origin: Model | None) -> Generator[Event, None, Model | None]:
        """Return a run that trains on the layers chosen."""
        ...

    def live_training(self, spec: TrainSpec, origin: Model | None) -> Generator[Event, None, None]:
        """Show a preview, and return the run of live mode."""
        ...

    @property
    def preview(self) -> Any:
        """Return the layer of the preview, if live mode is on."""
        ...

    def live_event(self, event: Event) -> None:
        """Show an event in the preview, if live mode is on."""

    def live_ended(self) -> None:
        """Let go of live mode, if it was on."""

    def set_live(self, *, on: bool) -> None:
        """Show whether live mode is on; start or stop nothing."""

    def follow_classes(self) -> None:
        """Follow what the user says of the classes trained on."""

    def model_kept(self) -> None:
        """Take note that another model would be saved."""

    def fix_form(self, **values: Any) -> None:
        """Choose other values for `zero`, `objects`, `dims` or `origin`."""

    def fix_layers(self, remedy: Remedy) -> None:
        """Do to the layers what a remedy says."""

    def check_soon(self) -> None:
        """Check the layers chosen in a moment."""
