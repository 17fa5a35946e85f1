"""The Train widget."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal
from weakref import ref

from napari.layers import Image, Labels

from napari_limn._napari.layers.class_table import Naming, restore, set_zero, zero_of
from napari_limn._napari.layers.layers import image_volume, is_untouched, volume_of
from napari_limn._napari.painting.recovery import RecoveryOffer
from napari_limn._napari.panel.docking import window_of
from napari_limn._napari.panel.models import SHELF, ask_for_model, ask_where_to_save, model_path
from napari_limn._napari.panel.panel import Panel
from napari_limn._napari.panel.preferences import preferred
from napari_limn._napari.training.curve import Curve
from napari_limn._napari.training.findings import Findings, LayerCheck, looked_at
from napari_limn._napari.training.live import LiveRun
from napari_limn._napari.training.picture import NetworkPicture
from napari_limn._napari.training.remedies import mend_layers
from napari_limn._napari.training.run import diagnosing, training
from napari_limn.annotation.findings import Found
from napari_limn.errors import LimnError
from napari_limn.specs import described
from napari_limn.training.events import Improved, LabelsChanged, Scored, Step, Waiting
from napari_limn.training.presets import preset_network
from napari_limn.training.spec import Preset, TrainSpec

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from napari.viewer import Viewer

    from napari_limn.annotation.classes import ZeroMeaning
    from napari_limn.annotation.findings import Finding, Remedy
    from napari_limn.model import Model
    from napari_limn.runs import Event

NEW = "a new model"


class TrainWidget(Panel):
    """Train a U-Net on the strokes of a labels layer, or train a model further."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer, "limn-train", "Train", "Stop")
        spec, tips = TrainSpec(), described(TrainSpec)
        self.model: Model | None = None  # the latest
        self._naming = Naming(self._renamed)  # of the classes of the layer that it was trained on
        self._strokes: ref[Labels] | None = None  # the layer of the run that was begun last
        self.destroyed.connect(self._naming.stop)
        self._read = False  # whether there was a layer to ask what its 0 means
        self.image = self.layer_field("Image", "image", Image, "The image that you painted on")
        self.labels = self.layer_field(
            "Labels", "labels", Labels, "The layer with your strokes: one number a class, background too"
        )
        self.seconds = self.value_field(
            "Seconds",
            "seconds",
            preferred("seconds", spec.seconds),
            Annotated[float, {"min": 1, "max": 86400, "step": 10}],
            tips["seconds"],
        )
        self.origin = self.model_field(
            "Start from",
            "from",
            lambda: [*SHELF.names, NEW],
            "Train a model further, for example after corrections, or begin anew",
        )
        self.offer = RecoveryOffer(napari_viewer, "limn-train-offer", self._take_back)
        self.form.addRow(self.offer)
        self.image.changed.connect(lambda _: self.offer.look(self.image.value))
        self.live = self.value_field(
            "Live",
            "live",
            False,
            bool,
            "Train while you paint, and show on the image what the model finds where you look",
        )
        self.live.changed.connect(lambda on: self.guarded(self.go_live if on else self.stop))
        self.live_run: LiveRun | None = None
        self._off_since = ""  # why live mode was turned off, if not by the person
        self._add_more(spec, tips)
        self.picture = NetworkPicture()
        self.picture.setObjectName("limn-train-picture")
        self.more.addRow(self.picture)
        for field in (self.origin, self.labels):
            field.changed.connect(lambda _: self._restore())
        for field in (self.zero, self.objects):
            field.changed.connect(lambda _: self._tell_zero())
        self.labels.changed.connect(lambda _: self._read_zero())
        for field in (self.image, self.dims, self.preset, self.origin):
            field.changed.connect(lambda _: self.guarded(self._draw))
        self.load_button, self.save_button = (
            self._button("Load model …", "load", self._choose_to_load),
            self._button("Save model …", "save", self._choose_to_save),
        )
        self.diagnose_button = self._button("Diagnose", "diagnose", self.diagnose)
        self.diagnose_button.setToolTip(
            "Versions, device, memory and a short test of them, to copy into a report"
        )
        self.starters.append(self.diagnose_button)
        self.more.addRow(self.load_button)
        self.more.addRow(self.diagnose_button)
        self.curve = Curve()
        self.curve.setObjectName("limn-train-curve")
        self.findings = Findings("limn-train", self._mend)
        self.message.add(self.findings)
        self._layer_check = LayerCheck(self, lambda: self.job is not None, self.in_sight, self._looked)
        for field in (self.image, self.labels):
            field.changed.connect(lambda _: self._drop_what_was_said_of_paint())
        self.origin.changed.connect(lambda _: self._light_save())
        for field in (self.image, self.labels, self.dims, self.origin):
            field.changed.connect(lambda _: self._layer_check.soon())
        self.lay_out(self.curve, self.save_button)
        self._light_save()
        self.name = ""  # of the latest model
        self._images: list[str] = []  # that it was trained on
        self._coming = ""  # name for the first model of a run; empty once it is there
        self.say("Paint a few strokes of each class, background too, then press Train.")

    def _add_more(self, spec: TrainSpec, tips: Mapping[str, str]) -> None:
        """The fields that are folded away."""
        self.channels = self.channels_field()
        self.zero = self.value_field(
            "0 means",
            "zero",
            spec.zero,
            Literal["unlabelled", "background"],
            tips["zero"],
            more=True,
        )
        self.dims = self.value_field("Network", "dims", spec.dims, Literal[2, 3], tips["dims"], more=True)
        self.objects = self.value_field("Objects", "objects", spec.objects, bool, tips["objects"], more=True)
        self.preset = self.value_field("Size", "preset", spec.preset, Preset, tips["preset"], more=True)

    # ---- the run -------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Train on the layers chosen."""
        layers, spec, origin = self._chosen()
        self.say("Reading strokes …")
        self.run(training(image_volume(layers), self.labels.value, spec, origin))

    def go_live(self) -> None:
        """Train on the layers chosen while the person paints, and predict what they look at."""
        if self.job is not None:
            self._set_live(on=False)
            raise LimnError("a run is under way here; stop it first, then turn Live on.")
        try:
            layers, spec, origin = self._chosen()
            self.live_run = LiveRun(
                self.viewer, layers, self.labels.value, spec, origin, self._is_stopping, self._gone, self
            )
        except LimnError:
            self._set_live(on=False)
            raise
        self.say("Live: paint a few strokes of each class, background too.")
        self.run(self.live_run.events())

    def _is_stopping(self) -> bool:
        return self.job is not None and self.job.abort_requested

    def _gone(self, why: str) -> None:
        """Turn live mode off, since a layer was removed."""
        self._set_live(on=False)
        self.stop()
        self._off_since = why

    def _renamed(self) -> None:
        """Call the classes of the model as the person does now."""
        if self.model is not None and not self._coming:
            self._keep(self.model)

    def _on_finished(self) -> None:
        super()._on_finished()
        if self.live_run is not None:
            self.live_run.close()
        self.live_run = None
        self._set_live(on=False)
        if self._off_since:
            self._notes.append(self._off_since)
            self.say(self._said)
        self._off_since = ""

    def _set_live(self, *, on: bool) -> None:
        with self.live.changed.blocked():
            self.live.value = on

    def _chosen(self) -> tuple[list[Image], TrainSpec, Model | None]:
        """Image layers, how to train, and from which model on; the panel is made ready for the run."""
        layers = self.chosen_images(self.image, self.channels)
        if self.labels.value is None:
            raise LimnError("there is no labels layer; add one and paint strokes of at least two classes.")
        if is_untouched(self.labels.value):
            raise LimnError(
                f"{self.labels.value.name}: found a prediction that nobody corrected, expected strokes; choose the layer that "
                "you painted on, or correct the prediction first."
            )
        spec = TrainSpec(
            seconds=self.seconds.value,
            zero=self._zero,
            dims=self.dims.value,
            objects=self.objects.value,
            preset=self.preset.value,
            device=self.device,
        )
        self._tell_zero()
        self.findings.show_all([f for f in self.findings.shown if not (f.of_paint or f.stops)])
        self._coming = f"{layers[0].name} model"
        self._images = [layer.name for layer in layers]
        self._strokes = ref(self.labels.value)
        self.curve.clear()
        return layers, spec, self._origin

    @property
    def _zero(self) -> ZeroMeaning:
        return "background" if self.objects.value else self.zero.value

    def _tell_zero(self) -> None:
        """Let the layer say what its 0 means, so that the legend of its classes does."""
        if self.labels.value is not None:
            set_zero(self.labels.value, self._zero)

    def _read_zero(self) -> None:
        """Take what was said of the layer that is chosen now; of the first one nothing may have been said but in the form."""
        before, self._read = self._read, self.labels.value is not None
        if self._read and (before or zero_of(self.labels.value) == "background"):
            self.zero.value = zero_of(self.labels.value)

    def heard(self, event: Event) -> None:
        """Show progress, draw the curves, keep the best model so far."""
        if self.live_run is not None:
            self.live_run.heard(event)
        match event:
            case Step(step=step, seconds=seconds, loss=loss, done=done):
                self.advance(done)
                self.curve.add_loss(seconds, loss)
                if step == 1:
                    self.say("Training …")
            case Scored(seconds=seconds, score=score):
                self.curve.add_score(seconds, score)
            case Improved(model=model):
                self._keep(model)
            case Found(finding=finding):
                self.findings.add(finding)
            case Waiting(message=message):
                self.say(message)
            case LabelsChanged(in_use=in_use):
                self._notes.clear()
                if not in_use:  # what still holds of the paint is said again
                    self._drop_what_was_said_of_paint()
                self.say("Training with the new strokes …" if in_use else "New strokes …")

    def draw(self) -> None:
        """Draw how far the run is, and the curves."""
        super().draw()
        self.curve.update()

    def ended(self, result: Model | None) -> None:
        """Say what came of it."""
        if result is not None:
            self._keep(result)
        if self.model is None or self._coming:
            self.say("Stopped before there was a model; give it a few seconds.")
            return
        score = self.model.spec.score
        how = "" if score is None else f", score {score:.3f} on held-out strokes"
        self.say(
            f"{'Done' if result else 'Stopped'}: “{self.name}”{how}. Predict with it, correct, and train again."
        )

    # ---- what there is to mend -----------------------------------------------------------------------------------
    def failed(self, error: Exception) -> None:
        """Show an error, or point to the row that says the same with what mends it."""
        super().failed(error)
        if self.findings.stops(str(error)):
            self.message.offer("")
            self.say("Not started: mend this, then press Train.")

    def diagnose(self) -> None:
        """Describe the machine and test it; the text can be copied."""
        self.say("Looking at the machine …")
        self.run(diagnosing(self.device), self._diagnosed)

    def _diagnosed(self, found: str | None) -> None:
        self.say(found or "Stopped.")
        self.message.offer(found or "")

    def _mend(self, remedy: Remedy) -> None:
        """Do what the button of a finding says."""
        if remedy.action == "zero":
            self.zero.value = "background"
        elif remedy.action == "objects":
            self.objects.value = True
        elif remedy.action == "dims":
            self.dims.value, self.origin.value = remedy.value, NEW
        elif self.image.value is not None:
            new = mend_layers(remedy, self.viewer, self.image.value, self.labels.value)
            super().reset_choices()
            match new:
                case [Labels() as labels]:
                    self.labels.value = labels
                case [image, *further]:
                    self.image.value, self.channels.value = image, further
        self.say("Press Train when you are ready.")
        self._layer_check.soon()

    def _looked(self, found: list[Finding]) -> None:
        self.findings.show_all([*found, *(f for f in self.findings.shown if f.of_paint and f not in found)])

    def _drop_what_was_said_of_paint(self) -> None:
        self.findings.show_all([f for f in self.findings.shown if not f.of_paint])

    def in_sight(self) -> Generator[Event, None, list[Finding]] | None:
        """A look at the layers chosen; None if there is no image, or one that cannot be trained on."""
        with suppress(LimnError):
            if self.image.value is not None:
                labels = None if self.labels.value is None else volume_of(self.labels.value)
                axes = self._origin.spec.network.ndim if self._origin else self.dims.value
                return looked_at(image_volume([self.image.value]), labels, axes)
        return None

    @property
    def _origin(self) -> Model | None:
        """The model that is trained further; None where that is a new one."""
        return SHELF[self.origin.value] if self.origin.value in SHELF.names else None

    def reset_choices(self, event: Any = None) -> None:
        """Offer the layers that are there now, and draw the network for the image that is then chosen."""
        super().reset_choices(event)
        self._layer_check.soon()
        self.offer.look(self.image.value)
        with suppress(LimnError):  # a layer that cannot be trained on is named when the person presses Train
            self._draw()

    def _take_back(self, layer: Labels) -> None:
        """Train on the strokes that came back."""
        super().reset_choices()
        self.labels.value = layer

    def _restore(self) -> None:
        """Give the strokes the names and colours of the model that is trained further, if nobody named them."""
        if self.labels.value is None or (model := self._origin) is None:
            return
        if self.origin.value != self.name:  # nobody calls the latest model's classes so
            self._naming.stop()
        if restore(self.labels.value, model.spec.classes) and not self.objects.value:
            self.zero.value = zero_of(self.labels.value)

    def _draw(self) -> None:
        """Show the network that would be trained."""
        if model := self._origin:
            self.picture.show_network(model.spec.network)
        elif self.image.value is not None:
            volume = image_volume([self.image.value])
            network = preset_network(self.preset.value, self.dims.value, volume.axes.spacing, volume.grid[1])
            self.picture.show_network(replace(network, in_channels=volume.channels))

    def _keep(self, model: Model) -> None:
        if self._coming:  # another may have come by the name meanwhile
            self.name, self._coming = SHELF.free_name(self._coming), ""
            if self._strokes is not None and (strokes := self._strokes()) is not None:
                self._naming.follow(strokes)
        self.model = model if self._naming.legend is None else model.with_legend(self._naming.legend)
        SHELF.put(self.name, self.model, self._images, window_of(self))
        self._light_save()

    # ---- files ---------------------------------------------------------------------------------------------------
    def load(self, path: Path) -> None:
        """Offer the model of a file to start from."""
        SHELF.load(path, window_of(self))

    def _light_save(self) -> None:
        self.save_button.setEnabled((self._origin or self.model) is not None)

    def save(self, path: Path) -> None:
        """Save the model that would be trained further, or else the latest; ``.limn`` is added to a name without it."""
        if model := self._origin or self.model:
            self.say(f"Saved {model.save(model_path(path))}.")

    def _choose_to_load(self) -> None:
        if path := ask_for_model(self):
            self.load(path)

    def _choose_to_save(self) -> None:
        if path := ask_where_to_save(self, self.origin.value if self._origin else self.name):
            self.save(path)
