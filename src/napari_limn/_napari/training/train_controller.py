"""What the Train widget decides.

No Qt: the widget shows it, tests run it without a window.

What is trained with which spec and from which model on, what is refused in which sentence, what follows an event, and under
which name a model is kept.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from napari_limn._napari.panel.models import model_path
from napari_limn._napari.training.run import diagnosing
from napari_limn._napari.training.train_view import NEW
from napari_limn.annotation.findings import Found
from napari_limn.errors import LimnError
from napari_limn.training.events import Improved, Repainted, Scored, Step, Waiting
from napari_limn.training.planning.presets import preset_network

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_limn._napari.panel.run_view import RunView
    from napari_limn._napari.panel.session import Session
    from napari_limn._napari.training.train_view import TrainView
    from napari_limn.annotation.classes import ZeroMeaning
    from napari_limn.annotation.findings import Finding, Remedy
    from napari_limn.model import Model
    from napari_limn.network.spec import UNetSpec
    from napari_limn.runs import Event
    from napari_limn.specs import DeviceName
    from napari_limn.training.spec import Preset, TrainSpec
    from napari_limn.volume.volume import Volume


class TrainController:
    """Decides for the Train widget.

    Parameters
    ----------
    view
        The widget.
    box
        Runs what is decided, and shows sentences.
    session
        Where models are kept.
    """

    def __init__(self, view: TrainView, box: RunView, session: Session) -> None:
        self.view, self.box, self.session = view, box, session
        self.on_saved: list[Callable[[str], object]] = []
        """Called with the name of a model that was saved."""
        self.model: Model | None = None
        """The latest."""
        self.name = ""
        """Of the latest model."""
        self._images: dict[str, str] = {}  # that it was trained on: names by identity
        self.live = False
        """Whether the run under way is live mode."""
        self._answered = False  # whether live mode gave an answer
        self._coming = ""  # name for the first model of a run; empty once it is there
        self._refused = False  # whether a finding stopped the last run before it began
        self._read = False  # whether there was a layer to ask what its 0 means

    # ---- the run -------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Train on the layers chosen."""
        spec, origin = self.begin()
        self.live = False
        self.box.say("Reading strokes …")
        self.box.run(self.view.training(spec, origin), needs=self.view.needed_layers())

    def go_live(self) -> None:
        """Train while the user paints, and predict what is looked at."""
        if self.box.running:
            self.view.set_live(on=False)
            raise LimnError("a run is under way here; stop it first, then turn Live on.")
        try:
            spec, origin = self.begin()
            events = self.view.live_training(spec, origin)
        except LimnError:
            self.view.set_live(on=False)
            raise
        self.live, self._answered = True, False
        self.box.say("Live: paint a few strokes of each class, background too.")
        if origin is not None and self.view.choices().origin == self.name:
            self._coming = ""  # it goes on with the model of this image, under its name
        self.box.run(events, needs=[*self.view.needed_layers(), self.view.preview], endless=True)

    def begin(self) -> tuple[TrainSpec, Model | None]:
        """Return how to train and from which model on.

        The widget is made ready for the run.

        Raises
        ------
        LimnError
            If there is nothing to train on.
        """
        choices = self.view.choices()
        if choices.labels is None:
            raise LimnError("there is no labels layer; add one and paint strokes of at least two classes.")
        if choices.untouched:
            raise LimnError(
                f"{choices.labels}: found a prediction that nobody corrected, expected strokes; choose the layer that you "
                "painted on, or correct the prediction first."
            )
        findings, self._refused = self.view.findings, False
        findings.show_all([f for f in findings.shown if not (f.of_paint or f.stops)])
        self._coming, self._images = f"{next(iter(choices.images.values()))} model", choices.images
        self.view.begin(choices.zero_meaning)
        return choices.spec(), self.origin(choices.origin)

    def on_event(self, event: Event) -> None:
        """Show progress, draw the curves, keep the best model so far."""
        self.view.live_event(event)
        match event:
            case Step(step=step, seconds=seconds, loss=loss, done=done):
                self.box.advance(done)
                self.view.curve.add_loss(seconds, loss)
                if step == 1:
                    self.box.say("Training …")
            case Scored(seconds=seconds, score=score):
                self.view.curve.add_score(seconds, score)
            case Improved(model=model):
                if self.live and not self._answered:
                    self._answered = True
                    self.box.say("Live: the answer follows your strokes. Correct it where it is wrong.")
                self.keep(model)
            case Found(finding=finding):
                self.view.findings.add(finding)
            case Waiting(message=message):
                self.box.say(message)
            case Repainted(counts=in_use):
                self._labels_changed(in_use=in_use)

    def _labels_changed(self, *, in_use: bool) -> None:
        self.box.forget_notes()
        if not in_use:  # what still holds of the paint is said again
            self.forget_paint_findings()
        self.box.say("Training with the new strokes …" if in_use else "New strokes …")

    def on_result(self, result: Model | None) -> None:
        """Say what came of the run."""
        if result is not None:
            self.keep(result)
        if self.model is None or self._coming:
            self.box.say("Stopped before there was a model; give it a few seconds.")
            return
        score = self.model.spec.score
        how = "" if score is None else f", score {score:.3f} on held-out strokes"
        self.box.say(
            f"{'Done' if result else 'Stopped'}: “{self.name}”{how}. Predict with it, correct, and train again."
        )

    def on_error(self, error: Exception) -> None:
        """Show an error, or point to the row that fixes it."""
        self.box.report(error)
        if self.view.findings.stops(str(error)):
            self.box.offer("")
            self.box.say("Not started: fix this, then press Train.")
            self._refused = True

    def on_finished(self) -> None:
        """Turn live mode off."""
        self.live = False
        self.view.live_ended()
        self.view.set_live(on=False)

    # ---- models --------------------------------------------------------------------------------------------------
    def origin(self, name: str) -> Model | None:
        """Return the model that is trained further.

        None where that is a new one.
        """
        return self.session.models.get(name)

    def keep(self, model: Model) -> None:
        """Offer a model under the name of its run.

        Its classes are called as the user calls them now.
        """
        models = self.session.models
        if self._coming:  # another may have come by the name meanwhile
            self.name, self._coming = models.free_name(self._coming), ""
            self.view.follow_classes()
        legend = self.view.legend
        self.model = model if legend is None else model.with_legend(legend)
        models.put(self.name, self.model, self._images, self.session)
        self.view.model_kept()

    def classes_renamed(self) -> None:
        """Call the classes of the latest model as the user does now."""
        if self.model is not None and not self._coming:
            self.keep(self.model)

    def to_save(self, origin: str) -> Model | None:
        """Return the model that would be trained further, or else the latest."""
        return self.origin(origin) or self.model

    def file_name(self, origin: str) -> str:
        """Return what to call the file of the model that is saved."""
        return origin if self.origin(origin) else self.name

    def save(self, path: Path, origin: str) -> None:
        """Save a model; ``.limn`` is added to a name without it."""
        if model := self.to_save(origin):
            self.box.say(f"Saved {model.save(model_path(path))}.")
            for act in self.on_saved:
                act(self.file_name(origin))

    def load(self, path: Path) -> None:
        """Offer the model of a file to start from."""
        self.session.models.load(path, self.session)

    def network(
        self, origin: str, preset: Preset, dims: Literal[2, 3], image: Volume | None
    ) -> UNetSpec | None:
        """Return the network that would be trained.

        None as long as there is neither a model nor an image.
        """
        if model := self.origin(origin):
            return model.spec.network
        if image is None:
            return None
        network = preset_network(preset, dims, image.axes.spacing, image.grid[1])
        return replace(network, in_channels=image.channels)

    # ---- what the form says, and what there is to fix ------------------------------------------------------------
    def zero_to_show(self, said: ZeroMeaning | None) -> ZeroMeaning | None:
        """Return what the form is to say of 0, if anything.

        Of the first layer nothing may have been said but in the form.

        Parameters
        ----------
        said
            What was said of the layer; None if there is none.
        """
        before, self._read = self._read, said is not None
        return said if before or said == "background" else None

    def dims_to_check(self, origin: str, dims: Literal[2, 3]) -> int:
        """Return the axes of the network that the layers must fit."""
        model = self.origin(origin)
        return model.spec.network.ndim if model else dims

    def diagnose(self, device: DeviceName) -> None:
        """Describe the machine and test it; the text can be copied."""
        self.box.say("Looking at the machine …")
        self.box.run(diagnosing(device), self._diagnosed)

    def _diagnosed(self, text: str | None) -> None:
        self.box.say(text or "Stopped.")
        self.box.offer(text or "")

    def fix(self, remedy: Remedy) -> None:
        """Do what the button of a finding says."""
        if remedy.action == "zero":
            self.view.fix_form(zero="background")
        elif remedy.action == "objects":
            self.view.fix_form(objects=True)
        elif remedy.action == "dims":
            self.view.fix_form(dims=remedy.value, origin=NEW)
        else:
            self.view.fix_layers(remedy)
        self.box.say("Press Train when you are ready.")
        self.view.check_soon()

    def checked(self, findings: list[Finding]) -> None:
        """List what a check of the layers found.

        What was said of the paint stays.
        """
        kept = [f for f in self.view.findings.shown if f.of_paint and f not in findings]
        self.view.findings.show_all([*findings, *kept])
        if self._refused and not any(f.stops for f in (*findings, *kept)):
            self._refused = False
            self.box.say("Press Train when you are ready.")

    def placed(self, findings: list[Finding]) -> None:
        """List where the layers lie, and what else is listed."""
        shown = self.view.findings.shown
        self.view.findings.show_all([*findings, *(f for f in shown if f.kind != "place")])

    def forget_paint_findings(self) -> None:
        """List nothing about what is painted any more."""
        self.view.findings.show_all([f for f in self.view.findings.shown if not f.of_paint])
