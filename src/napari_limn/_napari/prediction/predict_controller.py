"""What the Predict widget decides.

No Qt: the widget shows it, tests run it without a window.

What is predicted with which spec and into which file, what is refused in which sentence, when a layer is shown and replaced,
and what is said when a run is over.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_limn.files.working import unfinished
from napari_limn.inference.events import Planned, Writing
from napari_limn.runs import BlockDone, Event, Working

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_limn._napari.panel.run_view import RunView
    from napari_limn._napari.panel.session import Session
    from napari_limn._napari.prediction.predict_view import PredictView
    from napari_limn.inference.measured.certificate import Certificate
    from napari_limn.inference.spec import PredictSpec
    from napari_limn.model import Model
    from napari_limn.specs import DeviceName
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume


class PredictController:
    """Decides for the Predict widget.

    Parameters
    ----------
    view
        The widget.
    box
        Runs what is decided, and shows sentences.
    session
        Where the models are.
    """

    def __init__(self, view: PredictView, box: RunView, session: Session) -> None:
        self.view, self.box, self.session = view, box, session
        self._planned: Callable[[], object] | None = None  # in memory: what to do once the run can begin
        self._path = Path()

    def start(self) -> None:
        """Label the image chosen, in memory or into a file."""
        from napari_limn.inference.pipeline import check_fit

        choices = self.view.choices()
        model, volume = self.session.models[choices.model], self.view.volume()
        check_fit(model, volume)
        spec = choices.spec()
        self.view.begin(volume, model, choices.model)
        self._planned = None
        self.box.say("Planning …")
        if choices.out is None:
            self._start_in_memory(model, volume, spec)
        else:
            self._start_writing(model, volume, spec, choices.out, overwrite=choices.overwrite)
        if note := self.session.models.order_note(choices.model, choices.images):
            self.box.note(note)  # after `run`, which forgets what was noted before

    def _start_in_memory(self, model: Model, volume: Volume, spec: PredictSpec) -> None:
        data = self.view.empty(volume, model)
        exact = spec.precision in ("auto", "float32")  # as live mode predicts
        there = self.view.take_over(volume, model, data) if exact else []
        self._planned = lambda: self.view.show_in_memory(data)  # what was shown before stays until then
        self.box.run(_predicting(model, volume, data, spec, there), needs=self.view.needed_layers())

    def _start_writing(
        self, model: Model, volume: Volume, spec: PredictSpec, out: Path, *, overwrite: bool
    ) -> None:
        self._path = Path(out).absolute()
        self.view.refuse(self._path, overwrite=overwrite)
        events = _writing(model, volume, self._path, spec, overwrite=overwrite)
        self.box.run(events, self._written, needs=self.view.needed_layers())

    def on_event(self, event: Event) -> None:
        """Show the plan, then blocks as they come."""
        match event:
            case Planned(plan=plan):
                self.box.say(str(plan))
                if (
                    self._planned is not None and not self.view.showing
                ):  # a run that begins again is planned again
                    self._planned()
            case Writing(output=output):
                self.view.show_written(output.levels, self._path)
            case BlockDone():
                self.box.block_done(event)
                self.view.block_done(event.box)

    def on_result(self, result: Any) -> None:
        """Show the last blocks of a prediction in memory."""
        self.view.allow_painting()
        if result is not None:
            self.view.finished()
        self.view.refresh()
        if result is not None:
            self.box.say("Done. Paint corrections on your strokes, and train again.")
        else:
            self.box.say(f"Cancelled{'; the blocks that were done stay' if self.view.showing else ''}.")

    def on_error(self, error: Exception) -> None:
        """Show an error; the blocks that were done stay.

        They may be corrected where no file holds them.
        """
        if self._planned is not None:
            self.view.allow_painting()
        self.box.report(error)

    def _written(self, result: Path | None) -> None:
        """Show the finished file.

        A run that was cancelled when all was done has one, too.
        """
        partial = unfinished(self._path)
        if result is None and (not self.view.showing or partial.exists()):
            self.view.refresh()
            stays = f"; what is finished stays in {partial.name}, Predict goes on from there"
            self.box.say(f"Cancelled{stays if partial.exists() else ''}.")
            return
        if not self.view.showing:  # it was there already
            self.view.show_finished(self._path)
        self.view.file_finished(self._path)
        self.box.say(f"Done: {self._path}")

    # ---- seams and models ----------------------------------------------------------------------------------------
    def check_seams(self) -> None:
        """Measure what cutting the image into blocks does to its labels."""
        choices = self.view.choices()
        model, volume = self.session.models[choices.model], self.view.volume()
        self.view.show_seams("")
        self.box.say("Checking seams …")
        self.box.run(
            _certifying(model, volume, choices.device), self._checked, needs=self.view.needed_layers()
        )
        self.box.busy()

    def _checked(self, certificate: Certificate | None) -> None:
        self.view.show_seams("" if certificate is None else str(certificate))
        self.box.say("Cancelled." if certificate is None else "Seams are checked.")

    def load(self, path: Path) -> None:
        """Offer the model of a file."""
        self.session.models.load(path, self.session)


def _predicting(
    model: Model, volume: Volume, data: Any, spec: PredictSpec, there: list[Box]
) -> Generator[Event, None, Any]:
    from napari_limn.inference.pipeline import prediction_events
    from napari_limn.volume.writing.array_output import ArrayOutput

    return prediction_events(model, volume, ArrayOutput(volume, data, there), spec)


def _writing(
    model: Model, volume: Volume, path: Path, spec: PredictSpec, *, overwrite: bool
) -> Generator[Event, None, Any]:
    from napari_limn.inference.pipeline import prediction_events

    return prediction_events(model, volume, path, spec, overwrite=overwrite)


def _certifying(model: Model, volume: Volume, device: DeviceName) -> Generator[Event, None, Certificate]:
    """Do as a run what ``napari-limn info MODEL --certify IMAGE`` does."""
    from napari_limn.inference.pipeline import certificate

    yield Working()
    return certificate(model, volume, device)
