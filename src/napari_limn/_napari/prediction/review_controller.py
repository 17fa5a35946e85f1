"""What the Review widget decides.

No Qt: the widget shows it, tests run it without a window.

Where to look next and what is said there, what may be audited, which patch is asked about, and which buttons are lit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_limn._napari.prediction.review_view import ReviewButtons
from napari_limn.annotation.strokes import find_paint
from napari_limn.errors import LimnError
from napari_limn.evaluation.audit import frame_events
from napari_limn.evaluation.where_next import find_places
from napari_limn.inference.events import Planned
from napari_limn.runs import BlockDone, Event, Working

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray

    from napari_limn._napari.panel.run_view import RunView
    from napari_limn._napari.panel.session import Session
    from napari_limn._napari.prediction.review_view import AuditedLabels, AuditShown, ReviewView
    from napari_limn.evaluation.audit import Frame
    from napari_limn.evaluation.where_next import Point, Pool
    from napari_limn.model import Model
    from napari_limn.volume.volume import Volume

PATCHES = 30
"""Patches of an audit; the user may stop before, or go on."""


class ReviewController:
    """Decides for the Review widget.

    Parameters
    ----------
    view
        The widget.
    box
        Runs what is decided, and shows sentences.
    session
        Where the models are.
    """

    def __init__(self, view: ReviewView, box: RunView, session: Session) -> None:
        self.view, self.box, self.session = view, box, session
        self.audit: AuditShown | None = None
        self._audited: AuditedLabels | None = None
        self._planned: Callable[[], object] | None = None  # what to do once the map can begin
        self._pool: Pool | None = None
        self._spacing = (1.0, 1.0, 1.0)
        self.paint: NDArray[Any] | None = None
        """Where strokes are: places beside them are passed over."""
        self._visited: list[Point] = []

    # ---- where next ----------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Compute how unsure the model is of every voxel."""
        from napari_limn.inference.pipeline import check_fit

        names, name = self.view.image_names(), self.view.model_name()
        model, volume = self.session.models[name], self.view.volume()
        check_fit(model, volume)
        strokes, data = self.view.strokes(volume), self.view.begin_map(volume)
        self._planned = lambda: self._begin(name, volume, data)
        self.box.say("Planning …")
        events = _uncertainty(model, volume, data, strokes)
        self.box.run(events, self._pooled, needs=self.view.layers_of_map())
        if note := self.session.models.order_note(name, names):
            self.box.note(note)  # after `run`, which forgets what was noted before

    def _begin(self, model: str, volume: Volume, data: Any) -> None:
        """Replace the last map, now that the run can begin."""
        self._planned = None
        self._pool, self._visited, self._spacing = None, [], volume.axes.spacing
        self.light_buttons()
        self.view.show_map(model, volume, data)

    def _pooled(self, result: tuple[Pool, NDArray[Any] | None] | None) -> None:
        self.view.refresh()
        if result is None:
            begun, self._planned = self._planned is None, None
            incomplete = begun and self._pool is None
            self.box.say("Cancelled; the map is not complete." if incomplete else "Cancelled.")
            return
        self._pool, self.paint = result
        self.light_buttons()
        self.box.say("Done. Bright is unsure; press Take me there.")

    def take_me_there(self) -> None:
        """Move the view to the most useful place not visited yet."""
        axes = self.view.map_axes
        if self._pool is None or axes is None:
            raise LimnError("there is no map of doubts; press Where next first.")
        places = find_places(self._pool, self._spacing, 1, self.paint, self._visited)
        if not places:
            raise LimnError(
                "no other place is left where the model is unsure; train again, then press Where next."
            )
        place = places[0]
        self._visited.append(place.at)
        self.view.look_at(place.box)
        at = ", ".join(f"{n.lower()} {v}" for n, v in zip("TZYX", place.at, strict=True) if n in axes)
        self.box.say(
            f"Place {len(self._visited)}: {at}; uncertainty {place.score:.2f}. Paint what is wrong there, or press again."
        )

    # ---- audit ---------------------------------------------------------------------------------------------------
    def start_audit(self) -> None:
        """Count the classes of the prediction, then ask about patch after patch."""
        labels = self.view.audited()
        if labels is None:
            raise LimnError("there are no labels to audit; predict first.")
        if labels.unfinished:  # blocks that never came might pass for background
            raise LimnError(
                f"{labels.name}: found a prediction that did not come to its end, expected a whole one; let Predict run to its "
                "end, then press Audit."
            )
        self.end_audit()
        self._audited = labels
        self.view.show_estimate("")
        self.box.say("Reading the labels …")
        events = frame_events(self.view.take_audited(), self.values(labels))
        self.box.run(events, self._framed, needs=self.view.layers_of_audit())

    def _framed(self, frame: Frame | None) -> None:
        if frame is None or self._audited is None:
            self.box.say("Cancelled.")
            return
        model = self._model_of(self._audited)
        names = {} if model is None else model.spec.classes.name_of
        self.audit = self.view.begin_audit(frame, names)
        went_on = self.audit.progress.audit.judged
        self._ask(f"Going on after {went_on} patches. " if went_on else "")

    def accept(self) -> None:
        """Take the patch as right, perhaps as it was corrected."""
        audit = self._current()
        try:
            wrong = audit.accept()
        finally:
            self.light_buttons()
        self._ask(f"Corrected {wrong} pixels. " if wrong else "")

    def correct(self) -> None:
        """Let the user paint over a copy of the patch."""
        self._current().correct()
        self.light_buttons()
        self.box.say("Paint over what is wrong inside the box, then press Accept corrected.")

    def skip(self) -> None:
        """Pass over a patch that cannot be judged."""
        self._current().skip()
        self._ask()

    def finish(self) -> None:
        """End the audit; what was judged is kept."""
        audit = self._current()
        judged = audit.progress.audit.judged
        audit.finish()
        self.end_audit()
        self.box.say(f"Finished after {judged} patches; press Audit to go on with more.")

    def _ask(self, before: str = "") -> None:
        """Show the next patch, and what is known by now."""
        audit = self._current()
        more = audit.next()
        self.light_buttons()
        self.view.show_estimate("\n".join(audit.sentences()))
        number = audit.progress.audit.judged + 1
        if not more:
            audit.close()
            self.box.say(f"{before}Every patch was seen; this is the score of the whole image.")
        elif number <= PATCHES:
            self.box.say(f"{before}Patch {number} of {PATCHES}: are the labels in the box right?")
        else:
            self.box.say(
                f"{before}Patch {number}, more than the {PATCHES} asked for: the interval narrows on."
            )

    def _current(self) -> AuditShown:
        if self.audit is None or not self.audit.alive:
            self.end_audit()
            raise LimnError("the labels that were audited are gone; press Audit to begin with others.")
        return self.audit

    def end_audit(self) -> None:
        """Take the box of an audit away.

        What was judged is kept, and a new audit goes on from there.
        """
        if self.audit is not None:
            self.audit.close()
        self.audit = None
        self.light_buttons()

    def layer_removed(self, name: str, *, of_audit: bool) -> None:
        """End the audit or the map whose layer was removed."""
        if of_audit and self.audit is not None:
            self.end_audit()
            self.box.say(f"The layer “{name}” was removed, so its audit has ended.")
        elif not of_audit and self._pool is not None:
            self._pool = None
            self.light_buttons()
            self.box.say(f"The layer “{name}” was removed; press Where next for another map.")

    def values(self, labels: AuditedLabels) -> tuple[int, ...] | None:
        """Return the values of the classes of a prediction.

        None where nobody knows.

        Those that it names come before those of its model: a model of that name may have others meanwhile.
        """
        if labels.model is not None and labels.class_names:
            return tuple(labels.class_names)
        model = self._model_of(labels)
        return None if model is None else model.spec.classes.values

    def _model_of(self, labels: AuditedLabels) -> Model | None:
        return None if labels.model is None else self.session.models.get(labels.model)

    # ---- the run -------------------------------------------------------------------------------------------------
    def on_event(self, event: Event) -> None:
        """Show the plan, then blocks as they come."""
        match event:
            case Planned(plan=plan):
                self.box.say(str(plan))
                if self._planned is not None:
                    self._planned()
            case BlockDone():
                self.box.block_done(event)
                self.view.block_done(event.box)

    def on_result(self, result: Any) -> None:
        """Take nothing: each run here has its own method."""

    def on_error(self, error: Exception) -> None:
        """Show an error."""
        self.box.report(error)

    def light_buttons(self) -> None:
        """Light only what can be pressed now."""
        asking = self.audit is not None and self.audit.progress.patch is not None
        correcting = self.audit is not None and self.audit.progress.correcting
        self.view.set_buttons(
            ReviewButtons(
                take=self._pool is not None,
                asking=asking,
                finish=self.audit is not None,
                correct=asking and not correcting,
                accept_text="Accept corrected" if correcting else "Accept",
            )
        )


def _uncertainty(
    model: Model, volume: Volume, data: Any, strokes: Volume | None
) -> Generator[Event, None, tuple[Pool, NDArray[Any] | None]]:
    """Do as a run what ``napari-limn next`` does.

    PyTorch is imported in the thread of the run.
    """
    from napari_limn.inference.uncertainty import uncertainty_events

    pool = yield from uncertainty_events(model, volume, data)
    yield Working()
    return pool, None if strokes is None else find_paint(strokes, "unlabelled").where
