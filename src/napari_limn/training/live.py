"""Training that goes on while the person paints: one run after the other, each from the best model so far."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_limn.errors import LimnError
from napari_limn.events import Event, Improved, Repainted, Scored, Step, Waiting, Working
from napari_limn.training.trainer import training_events
from napari_limn.volume.open import open_volume
from napari_limn.volume.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from napari_limn.annotation.classes import RGBA
    from napari_limn.annotation.snapshot import Snapshot
    from napari_limn.model import Model
    from napari_limn.training.spec import TrainSpec

_LOOK = 0.25  # seconds between two looks for new paint at least
_LOOKING = 0.1  # share of the time that they may take
_REST = 0.05  # seconds of sleep at a time while there is nothing to learn


def live_events(
    image: Any,
    paint: Snapshot,
    spec: TrainSpec | None = None,
    *,
    model: Model | None = None,
    colors: Mapping[int, RGBA] | None = None,
    names: Mapping[int, str] | None = None,
) -> Generator[Event, None, None]:
    """Train until it is closed, with all the paint that there is at any time.

    New paint ends a run of :func:`~napari_limn.training.trainer.training_events`, and the next one starts with it from the
    best model so far. A run whose paint stays as it is ends after its budget; then training rests until there is more. Paint
    that nothing can be learned from is no error: why is told (:class:`~napari_limn.events.Waiting`), and more is waited for.

    Parameters
    ----------
    image
        What was painted on: whatever :func:`~napari_limn.volume.open.open_volume` takes.
    paint
        The paint, as an array of the image's shape without channels; changes are copied between two runs.
    spec
        Of every run.
    model
        To begin with.
    colors, names
        As of :func:`~napari_limn.training.trainer.train`.

    Yields
    ------
    Those of the runs, with steps and seconds counted on from one to the next. The model of the last
    :class:`~napari_limn.events.Improved` is the best.
    """
    volume = open_volume(image)
    chain = _Chain(model)
    watch = _Watch(paint)
    while True:
        for _ in paint.take():
            yield Working()
        watch.forget()
        try:
            labels = Volume.of(paint, volume.axes.without("C"), "labels")
            run = training_events(volume, labels, spec, model=chain.best, colors=colors, names=names)
            with closing(run):
                yield from chain.followed(run, watch)
        except LimnError as error:
            chain.repainted = False
            yield Waiting(str(error))
        while not chain.repainted and not watch.changed():
            time.sleep(_REST)
            yield Working()
        if not chain.repainted:
            chain.repainted = True
            yield Repainted(counts=False)


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


class _Chain:
    """What runs have in common that follow one another."""

    def __init__(self, best: Model | None) -> None:
        self.best = best
        self._steps, self._seconds = 0, 0.0
        self.repainted = False  # there is paint, and the person knows, that no run has begun with yet

    def followed(self, run: Generator[Event, None, Model], watch: _Watch) -> Generator[Event, None, None]:
        """The events of a run, until it ends or there is new paint.

        It is not broken off before it has scored what it learned: strokes that come one upon the other would otherwise
        keep training from ever getting anywhere.
        """
        steps, seconds = self._steps, self._seconds
        fresh, learned, told = self.best is None, False, False
        for event in run:
            if self.repainted:
                self.repainted = False
                yield Repainted(counts=True)
            match event:
                case Step(step=n, seconds=t):
                    self._steps, self._seconds, fresh = steps + n, seconds + t, True
                    event = replace(event, step=self._steps, seconds=self._seconds)
                case Scored(step=n, seconds=t):
                    event = replace(event, step=steps + n, seconds=seconds + t)
                    learned = fresh
                case Improved(model=model):
                    self.best, learned = model, fresh
            yield event
            if watch.changed() and not told:
                told = True
                yield Repainted(counts=False)
            if told and learned:
                break
        self.repainted = told
        if not told:
            yield Waiting("Trained on all strokes; paint more, or correct what you see.")
