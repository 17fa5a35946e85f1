"""Training that goes on while the person paints: the same network all the time, with the strokes that there are."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_limn.annotation.findings import Found
from napari_limn.annotation.legend import Legend
from napari_limn.errors import LimnError
from napari_limn.runs import Event, Working
from napari_limn.training.data.painted import collect_training_data, warnings_for
from napari_limn.training.data.training_set import TrainingSet
from napari_limn.training.events import Improved, LabelsChanged, Scored, Step, Waiting
from napari_limn.training.first_answer.fit import load
from napari_limn.training.run import TrainingRun
from napari_limn.training.spec import TrainSpec
from napari_limn.training.trainer import going_on, initial_model
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
    """Train until it is closed, with all the paint that there is at any time.

    New paint is answered, a few seconds later at most, by the pixel classifier; the network learns on from it between two
    steps, its optimiser as it is, and is judged at the paint of that moment now and then. Only a new class makes a new run,
    which begins with the best model so far. Paint that stays as it is is learned from for one budget; then training rests until
    there is more. Paint that nothing can be learned from is no error: why is told (:class:`~napari_limn.training.events.Waiting`),
    and more is waited for.

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
    learner = _Learner(open_volume(image), spec or TrainSpec(), model, legend_now)
    watch = _Watch(paint)
    while True:
        for _ in paint.take():
            yield Working()
        watch.forget()
        try:
            yield from learner.learning(paint, watch)
        except LimnError as error:
            learner.repainted = False
            yield Waiting(str(error))
        while not learner.repainted and not watch.changed():
            time.sleep(_REST)
            yield Working()
        if not learner.repainted:
            learner.repainted = True
            yield LabelsChanged(in_use=False)


class _Watch:
    """Looks for new paint now and then."""

    def __init__(self, paint: Snapshot) -> None:
        self._paint, self._found, self._next = paint, False, 0.0

    def forget(self) -> None:
        """The paint is known now."""
        self._found = False

    def changed(self) -> bool:
        """Whether there is new paint, as far as was looked."""
        began = time.monotonic()
        if not self._found and began >= self._next:
            self._found = self._paint.changed()
            now = time.monotonic()
            self._next = now + max(_LOOK, (now - began) / _LOOKING)
        return self._found


class _Learner:
    """The run that goes on, and the best model so far."""

    def __init__(
        self,
        volume: Volume,
        spec: TrainSpec,
        best: Model | None,
        legend_now: Callable[[], Legend],
    ) -> None:
        self._volume, self._spec, self._best = volume, going_on(spec, best), best
        self._legend_now = legend_now
        self._run: TrainingRun | None = None
        self._before = (0, 0.0)  # steps and seconds of runs before this one
        self.repainted = False  # there is paint, and the person knows, that has not been begun with yet

    def learning(self, paint: Snapshot, watch: _Watch) -> Generator[Event, None, None]:
        """Learn from the paint until there is more, and that has been answered, or the budget is spent."""
        began, due = time.monotonic(), float("inf")  # then a next answer may begin
        painted = self._gathered(paint)
        for finding in warnings_for(painted, self._spec, self._best.spec.classes if self._best else None):
            yield Found.of(finding)
        run = self._renewed(painted)
        if self.repainted:
            self.repainted = False
            yield LabelsChanged(in_use=True)
        told = False
        with closing(run.learning()) as events:
            for event in events:
                if isinstance(event, Improved | Step) and due == float("inf"):
                    took = (now := time.monotonic()) - began
                    due = now + max(_APART - took, _LEARNING * took)
                yield self._counted(event)
                if watch.changed() and not told:
                    told = True
                    yield LabelsChanged(in_use=False)
                if told and time.monotonic() >= due:
                    break
        self.repainted = told
        if not told:
            yield Waiting("Trained on all strokes; paint more, or correct what you see.")

    def _gathered(self, paint: Snapshot) -> LabelledImages:
        labels = Volume.of(paint, self._volume.axes.without("C"), "labels")
        known = self._best.spec.classes if self._best else None
        legend = self._legend_now()
        return collect_training_data(self._volume, labels, self._spec, known, legend.colors, legend.names)

    def _renewed(self, painted: LabelledImages) -> TrainingRun:
        """The run, with this paint from now on; a new one where there are other classes."""
        run = self._run
        if run is not None and run.start.spec.classes.values == painted.classes.values:
            run.renew(TrainingSet(painted, run.start.spec.network, run.spec, run.data))
            return run
        start = initial_model(self._spec, painted, self._best)
        if run is not None:
            self._before = (self._before[0] + run.steps, self._before[1] + run.seconds)
        spec = going_on(self._spec, start)
        self._run = TrainingRun(start, spec, TrainingSet(painted, start.spec.network, spec), run)
        return self._run

    def _counted(self, event: Event) -> Event:
        """An event of the run, with the steps and seconds of all runs; the best model is kept."""
        steps, seconds = self._before
        match event:
            case Step(step=n, seconds=t) | Scored(step=n, seconds=t):
                return replace(event, step=steps + n, seconds=seconds + t)
            case Improved(model=model):
                self._best = model.with_legend(self._legend_now())
                return replace(event, model=self._best)
        return event
