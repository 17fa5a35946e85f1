"""Training that goes on while the user paints.

Why: new strokes do not end a run. They are answered by the classifier, and the network's data are exchanged between two steps; optimiser,
averages and a scoring that is under way stay as they are. See docs/design/0006-live-mode.md.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_limn.annotation.findings import Found
from napari_limn.annotation.legend import Legend
from napari_limn.errors import LimnError
from napari_limn.runs import Event, Working
from napari_limn.training.data.painted import collect_training_data
from napari_limn.training.data.training_set import TrainingSet
from napari_limn.training.events import Improved, Repainted, Scored, Step, Waiting
from napari_limn.training.first_answer.fit import load
from napari_limn.training.planning.initial_model import initial_model
from napari_limn.training.planning.resolve import resolve
from napari_limn.training.run import TrainingRun
from napari_limn.training.spec import TrainSpec
from napari_limn.volume.reading.open import open_volume
from napari_limn.volume.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_limn.annotation.snapshot import Snapshot
    from napari_limn.model import Model
    from napari_limn.training.data.painted import LabelledImages

_LOOK = 0.25  # seconds between two looks for new paint at least
_LOOKING = 0.1  # share of the time that they may take
_REST = 0.05  # seconds of sleep at a time while there is nothing to learn
_APART = 2.2  # seconds from one answer to new paint to the next, so that there is a preview every 2 to 3 s
_LEARNING = 0.5  # of the time that an answer takes, at least, goes into learning before the next


def live_events(
    image: Any,
    paint: Snapshot,
    spec: TrainSpec | None = None,
    *,
    model: Model | None = None,
    legend_now: Callable[[], Legend] = Legend,
) -> Generator[Event, None, None]:
    """Train until it is closed, with the paint of each moment.

    New paint is answered, a few seconds later at most, by the pixel classifier; the network learns on from it between two
    steps, its optimiser as it is, and is scored by the paint of that moment now and then. Only a new class makes a new run,
    which begins with the best model so far. Paint that does not change is learnt from for one budget; then training rests until
    there is more. Paint that nothing can be learnt from is no error: the run says why
    (:class:`~napari_limn.training.events.Waiting`) and waits for more.

    Parameters
    ----------
    image
        What was painted on: whatever :func:`~napari_limn.volume.reading.open.open_volume` takes.
    paint
        The paint, as an array of the image's shape without channels; changes are copied between two steps.
    spec
        How to train.
    model
        To begin with.
    legend_now
        What the classes are called and how they look at the moment; called in the thread that runs this.

    Yields
    ------
    Those of a run, with steps and seconds counted on. The model of the last :class:`~napari_limn.training.events.Improved` is the best.
    """
    load()
    live = _LiveTraining(open_volume(image), spec or TrainSpec(), model, legend_now)
    watch = _Watch(paint)
    while True:
        for _ in paint.take():
            yield Working()
        watch.forget()
        try:
            yield from live.learning(paint, watch)
        except LimnError as error:
            live.repainted = False
            yield Waiting(str(error))
        while not live.repainted and not watch.changed():
            time.sleep(_REST)
            yield Working()
        if not live.repainted:
            live.repainted = True
            yield Repainted(counts=False)


class _Watch:
    """Looks for new paint now and then."""

    def __init__(self, paint: Snapshot) -> None:
        self._paint, self._seen, self._next = paint, False, 0.0

    def forget(self) -> None:
        """Note that the paint is known now."""
        self._seen = False

    def changed(self) -> bool:
        """Say whether there is new paint, as far as was looked."""
        began = time.monotonic()
        if not self._seen and began >= self._next:
            self._seen = self._paint.changed()
            now = time.monotonic()
            self._next = now + max(_LOOK, (now - began) / _LOOKING)
        return self._seen


class _LiveTraining:
    """The run that goes on, and the best model so far."""

    def __init__(
        self,
        volume: Volume,
        spec: TrainSpec,
        best: Model | None,
        legend_now: Callable[[], Legend],
    ) -> None:
        self._volume, self._spec, self._best = volume, spec, best
        self._legend_now = legend_now
        self._run: TrainingRun | None = None
        self._before = (0, 0.0)  # steps and seconds of runs before this one
        self.repainted = False  # there is paint, and the user knows, that has not been begun with yet

    def learning(self, paint: Snapshot, watch: _Watch) -> Generator[Event, None, None]:
        """Learn from the paint until more of it was answered.

        Or until the budget is spent.
        """
        began, due = time.monotonic(), float("inf")  # then a next answer may begin
        painted = self._collected(paint)
        yield from map(Found.of, painted.warnings)
        run = self._renewed(painted)
        if self.repainted:
            self.repainted = False
            yield Repainted(counts=True)
        noticed = False
        with closing(run.learning()) as events:
            for event in events:
                if isinstance(event, Improved | Step) and due == float("inf"):
                    took = (now := time.monotonic()) - began
                    due = now + max(_APART - took, _LEARNING * took)
                yield self._counted(event)
                if watch.changed() and not noticed:
                    noticed = True
                    yield Repainted(counts=False)
                if noticed and time.monotonic() >= due:
                    break
        self.repainted = noticed
        if not noticed:
            yield Waiting("Trained on all strokes; paint more, or correct what you see.")

    def _collected(self, paint: Snapshot) -> LabelledImages:
        labels = Volume.of(paint, self._volume.axes.without("C"), "labels")
        known = self._best.spec if self._best else None
        legend = self._legend_now()
        return collect_training_data(self._volume, labels, self._spec, known, legend.colors, legend.names)

    def _renewed(self, painted: LabelledImages) -> TrainingRun:
        """Give the run this paint; begin one for other classes."""
        run = self._run
        if run is not None and run.start.spec.classes.values == painted.classes.values:
            run.renew(TrainingSet(painted, run.resolved, run.data))
            return run
        image, classes, device = painted.images[0], painted.classes, run.resolved.device if run else None
        resolved = resolve(self._spec, image, classes, self._best, device=device)
        start, random = initial_model(resolved, image, classes, self._best)
        if run is not None:
            budget = run.budget
            self._before = (self._before[0] + budget.steps, self._before[1] + budget.seconds)
        self._run = TrainingRun(start, resolved, TrainingSet(painted, resolved), random, run)
        return self._run

    def _counted(self, event: Event) -> Event:
        """Count steps and seconds over all runs; keep the best model."""
        steps, seconds = self._before
        match event:
            case Step(step=n, seconds=t) | Scored(step=n, seconds=t):
                return replace(event, step=steps + n, seconds=seconds + t)
            case Improved(model=model):
                self._best = model.with_legend(self._legend_now())
                return replace(event, model=self._best)
        return event
