"""The Train widget."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal
from weakref import ref

from napari.layers import Image, Labels

from napari_limn._napari.layers.class_table import Naming, given_legend, restore, set_zero, zero_of
from napari_limn._napari.layers.facts import names_by_identity
from napari_limn._napari.layers.layers import image_volume, is_untouched, volume_of
from napari_limn._napari.layers.listening import call_all, on_moved
from napari_limn._napari.painting.recovery import RecoveryOffer
from napari_limn._napari.panel.choices import NO_IMAGE
from napari_limn._napari.panel.drop import ask_for_model, ask_where_to_save
from napari_limn._napari.panel.form import FormWidget, lay_out
from napari_limn._napari.panel.preferences import preferred
from napari_limn._napari.training.curve import Curve
from napari_limn._napari.training.findings import Findings, LayerCheck, layer_check, place_check
from napari_limn._napari.training.live import LiveRun
from napari_limn._napari.training.picture import NetworkPicture
from napari_limn._napari.training.remedies import fix_layers
from napari_limn._napari.training.run import training
from napari_limn._napari.training.train_controller import TrainController
from napari_limn._napari.training.train_view import NEW, TrainChoices
from napari_limn.errors import LimnError
from napari_limn.specs import described
from napari_limn.training.spec import Preset, TrainSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from napari.viewer import Viewer
    from qtpy.QtWidgets import QPushButton

    from napari_limn.annotation.classes import ZeroMeaning
    from napari_limn.annotation.findings import Finding, Remedy
    from napari_limn.annotation.legend import Legend
    from napari_limn.model import Model
    from napari_limn.runs import Event


class TrainWidget(FormWidget):
    """Train a U-Net on strokes, or train a model further."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(
            napari_viewer,
            "run",
            "limn-train",
            "Train",
            "Stop",
            "Learn from your strokes for the seconds above",
        )
        self.controller = TrainController(self, self.run_box, self.session)
        self.run_box.handler = self.controller
        self.run_box.on_finished += [self._draw_curve, self.controller.on_finished]
        self.run_box.state.ticked.connect(self._draw_curve)
        self._naming = Naming(self.controller.classes_renamed)  # of the layer that was trained on
        self.destroyed.connect(self._naming.stop)
        self._moves: list[Callable[[], object]] = []  # of the layers chosen
        self.destroyed.connect(partial(call_all, self._moves))
        self._strokes: ref[Labels] | None = None  # the layer of the run that was begun last
        self.live_run: LiveRun | None = None
        self.shows_answers = False  # of a training, on the image as they come
        self._add_rows()
        self._add_more()
        self._add_files()
        self.curve = Curve()
        self.curve.setObjectName("limn-train-curve")
        self.findings = Findings("limn-train", self.controller.fix)
        self.run_box.message.add(self.findings)
        self._layer_check = LayerCheck(
            self, lambda: self.run_box.running, self.in_sight, self.controller.checked
        )
        self._listen()
        lay_out(self, self.form, self.run_box, self.curve, self.save_button)
        self.reset_choices()
        self.model_kept()
        self.run_box.say("Paint a few strokes of each class, background too, then press Train.")

    # ---- building ------------------------------------------------------------------------------------------------
    def _add_rows(self) -> None:
        spec, tips, form = TrainSpec(), described(TrainSpec), self.form
        self.image = form.layer_field("Image", "image", Image, "The image that you painted on")
        self.labels = form.layer_field(
            "Labels", "labels", Labels, "The layer with your strokes: one number a class, background too"
        )
        self.seconds = form.value_field(
            "Seconds",
            "seconds",
            preferred("seconds", spec.seconds),
            Annotated[float, {"min": 1, "max": 86400, "step": 10}],
            tips["seconds"],
        )
        self.origin = form.model_field(
            "Start from",
            "from",
            lambda: [*self.session.models.names, NEW],
            "Train a model further, for example after corrections, or begin anew",
        )
        self.offer = RecoveryOffer(self.viewer, "limn-train-offer", self._take_back)
        form.rows.addRow(self.offer)
        self.live = form.value_field(
            "Live",
            "live",
            False,
            bool,
            "Train while you paint, and show on the image what the model finds where you look",
        )

    def _add_more(self) -> None:
        """Add the fields that are folded away."""
        spec, tips, form = TrainSpec(), described(TrainSpec), self.form
        self.channels = form.channels_field()
        zeros = Literal["unlabelled", "background"]
        self.zero = form.value_field("0 means", "zero", spec.zero, zeros, tips["zero"], more=True)
        self.dims = form.value_field("Network", "dims", spec.dims, Literal[2, 3], tips["dims"], more=True)
        self.objects = form.value_field("Objects", "objects", spec.objects, bool, tips["objects"], more=True)
        self.preset = form.value_field("Size", "preset", spec.preset, Preset, tips["preset"], more=True)
        self.picture = NetworkPicture()
        self.picture.setObjectName("limn-train-picture")
        form.more.addRow(self.picture)

    def _add_files(self) -> None:
        box = self.run_box
        self.load_button, self.save_button = (
            box.button("Load model …", "load", self._choose_to_load, "Open a .limn file to start from"),
            box.button(
                "Save model …",
                "save",
                self._choose_to_save,
                "Write the model chosen at Start from, or else the latest, into a .limn file",
            ),
        )
        self.diagnose_button = box.button(
            "Diagnose",
            "diagnose",
            lambda: self.controller.diagnose(box.device),
            "Versions, device, memory and a short test of them, to copy into a report",
        )
        box.starters.append(self.diagnose_button)
        self.form.more.addRow(self.load_button)
        self.form.more.addRow(self.diagnose_button)

    def _listen(self) -> None:
        """React to what is chosen.

        Where one choice has several consequences, they come in this order.
        """
        image, labels, origin = self.image.changed, self.labels.changed, self.origin.changed
        image.connect(lambda _: self.offer.look(self.image.value))
        self.live.changed.connect(self._switch_live)
        for changed in (origin, labels):
            changed.connect(lambda _: self._restore())
        for changed in (self.zero.changed, self.objects.changed):
            changed.connect(lambda _: self._note_zero())
        labels.connect(lambda _: self._show_zero())
        for changed in (image, self.dims.changed, self.preset.changed, origin):
            changed.connect(lambda _: self.run_box.guarded(self._draw_network))
        for changed in (image, labels):
            changed.connect(lambda _: self.controller.forget_paint_findings())
            changed.connect(lambda _: self._follow_layers())
        origin.connect(lambda _: self.model_kept())
        for changed in (image, labels, self.dims.changed, origin):
            changed.connect(lambda _: self.check_soon())

    # ---- what napari and Qt call ---------------------------------------------------------------------------------
    def lacking(self) -> dict[QPushButton, str]:
        """Say what must be there before a button can be pressed."""
        why = "" if self.labels.value is not None else "Press New strokes layer in Strokes, and paint, first."
        return {self.run_box.start_button: NO_IMAGE if self.image.value is None else why}

    def reset_choices(self, event: Any = None) -> None:
        """Offer the layers of now; check and draw what is chosen."""
        super().reset_choices()
        self._follow_layers()
        self.check_soon()
        self.offer.look(self.image.value)
        with suppress(LimnError):  # a layer that cannot be trained on is named when the user presses Train
            self._draw_network()

    def stand_among_others(self) -> None:
        """Fold away what the dock around this widget chooses, and offers."""
        self.form.fold(self.offer)
        self.shows_answers = True
        super().stand_among_others()

    # ---- what is shown -------------------------------------------------------------------------------------------
    @property
    def model(self) -> Model | None:
        """Return the latest model."""
        return self.controller.model

    @property
    def name(self) -> str:
        """Return the name of the latest model."""
        return self.controller.name

    def _draw_curve(self) -> None:
        self.curve.update()

    def _draw_network(self) -> None:
        """Show the network that would be trained."""
        image = None
        if self.controller.origin(self.origin.value) is None and self.image.value is not None:
            image = image_volume([self.image.value])
        network = self.controller.network(self.origin.value, self.preset.value, self.dims.value, image)
        if network is not None:
            self.picture.show_network(network)

    # ---- what the controller asks for ----------------------------------------------------------------------------
    def choices(self) -> TrainChoices:
        """Return what the form says."""
        images, labels = self.form.chosen_images(self.image, self.channels), self.labels.value
        return TrainChoices(
            images=names_by_identity(images),
            labels=None if labels is None else labels.name,
            untouched=labels is not None and is_untouched(labels),
            origin=self.origin.value,
            seconds=self.seconds.value,
            zero=self.zero.value,
            dims=self.dims.value,
            objects=self.objects.value,
            preset=self.preset.value,
            device=self.run_box.device,
        )

    def needed_layers(self) -> list[Any]:
        """Return the layers that a run needs, as chosen now."""
        return [*self._images(), self.labels.value]

    def begin(self, zero: ZeroMeaning) -> None:
        """Make ready for a run on the labels layer chosen."""
        set_zero(self.labels.value, zero)
        self._check_place()
        self._strokes = ref(self.labels.value)
        self.curve.clear()

    def training(self, spec: TrainSpec, origin: Model | None) -> Generator[Event, None, Model | None]:
        """Return a run that trains on the layers chosen."""
        image, labels = image_volume(self._images()), self.labels.value
        learn = partial(training, image, volume_of(labels), given_legend(labels), spec, origin)
        if not self.shows_answers:
            return learn()
        with suppress(LimnError):  # labels of other axes: what is wrong with them is said by the training
            return self._shown(spec, origin, learn)
        return learn()

    def live_training(self, spec: TrainSpec, origin: Model | None) -> Generator[Event, None, None]:
        """Show a preview, and return the run of live mode."""
        return self._shown(spec, origin)

    def _shown(self, spec: TrainSpec, origin: Model | None, learn: Any = None) -> Generator[Event, None, Any]:
        """Show a preview of a run, and return the run."""
        images, labels, stopping = self._images(), self.labels.value, lambda: self.run_box.stopping
        run = LiveRun(self.viewer, self.session, images, labels, spec, origin, stopping, self, learn)
        self.live_run = run
        return run.events()

    @property
    def preview(self) -> Any:
        """Return the layer of the preview, if live mode is on."""
        return None if self.live_run is None else self.live_run.layer

    def _images(self) -> list[Image]:
        return self.form.chosen_images(self.image, self.channels)

    def live_event(self, event: Event) -> None:
        """Show an event in the preview."""
        if self.live_run is not None:
            self.live_run.controller.on_event(event)

    def live_ended(self) -> None:
        """Let go of the preview."""
        if self.live_run is not None:
            self.live_run.close()
        self.live_run = None

    def set_live(self, *, on: bool) -> None:
        """Show whether live mode is on."""
        with self.live.changed.blocked():
            self.live.value = on

    @property
    def legend(self) -> Legend | None:
        """Return what the user says of the classes trained on."""
        return self._naming.legend

    def follow_classes(self) -> None:
        """Follow what the user says of the classes trained on."""
        if self._strokes is not None and (strokes := self._strokes()) is not None:
            self._naming.follow(strokes)

    def model_kept(self) -> None:
        """Light the button that saves, if there is a model to save."""
        self.save_button.setEnabled(self.controller.to_save(self.origin.value) is not None)

    def fix_form(self, **values: Any) -> None:
        """Choose other values."""
        for name, value in values.items():
            getattr(self, name).value = value

    def fix_layers(self, remedy: Remedy) -> None:
        """Do what a remedy says, and choose what it made."""
        if self.image.value is None:
            return
        new = fix_layers(remedy, self.viewer, self.image.value, self.labels.value)
        self.form.reset_choices()
        match new:
            case [Labels() as labels]:
                self.labels.value = labels
            case [image, *further]:
                self.image.value, self.channels.value = image, further

    def check_soon(self) -> None:
        """Check the layers chosen in a moment."""
        self._layer_check.soon()

    def in_sight(self) -> Generator[Event, None, list[Finding]] | None:
        """Return a check of the layers chosen.

        None without an image that can be trained on.
        """
        with suppress(LimnError):
            if self.image.value is not None:
                labels = None if self.labels.value is None else volume_of(self.labels.value)
                dims = self.controller.dims_to_check(self.origin.value, self.dims.value)
                return layer_check(image_volume([self.image.value]), labels, dims)
        return None

    def _follow_layers(self) -> None:
        call_all(self._moves)
        self._moves += on_moved((self.image.value, self.labels.value), self._check_place)

    def _check_place(self, event: Any = None) -> None:
        """Check where the layers lie: at once, in a live run too."""
        if self.image.value is not None and self.labels.value is not None:
            with suppress(LimnError):
                image, labels = image_volume([self.image.value]), volume_of(self.labels.value)
                self.controller.placed(place_check(image, labels))

    # ---- what is chosen ------------------------------------------------------------------------------------------
    def _switch_live(self, on: bool) -> None:
        self.run_box.guarded(self.controller.go_live if on else self.run_box.stop)

    def _note_zero(self) -> None:
        """Let the layer say what its 0 means.

        The legend of its classes says so then.
        """
        if self.labels.value is not None:
            set_zero(self.labels.value, "background" if self.objects.value else self.zero.value)

    def _show_zero(self) -> None:
        """Take what was said of the layer that is chosen now."""
        layer = self.labels.value
        zero = self.controller.zero_to_show(None if layer is None else zero_of(layer))
        if zero is not None:
            self.zero.value = zero

    def _take_back(self, layer: Labels) -> None:
        """Train on the strokes that came back."""
        self.form.reset_choices()
        self.labels.value = layer

    def _restore(self) -> None:
        """Give strokes the classes of the model trained further.

        Their names and colours, if nobody named them.
        """
        model = self.controller.origin(self.origin.value)
        if self.labels.value is None or model is None:
            return
        if self.origin.value != self.controller.name:  # nobody calls the latest model's classes so
            self._naming.stop()
        if restore(self.labels.value, model.spec.classes) and not self.objects.value:
            self.zero.value = zero_of(self.labels.value)

    # ---- files ---------------------------------------------------------------------------------------------------
    def load(self, path: Path) -> None:
        """Offer the model of a file to start from."""
        self.controller.load(path)

    def save(self, path: Path) -> None:
        """Save the model that would be trained further, or else the latest."""
        self.controller.save(path, self.origin.value)

    def _choose_to_load(self) -> None:
        if path := ask_for_model(self):
            self.load(path)

    def _choose_to_save(self) -> None:
        if path := ask_where_to_save(self, self.controller.file_name(self.origin.value)):
            self.save(path)
