"""The loop of a run: answer, learn, score."""

from __future__ import annotations

from contextlib import closing
from math import isnan
from typing import TYPE_CHECKING

from napari_limn.runs import Noted, Warned
from napari_limn.training.best import BestModel
from napari_limn.training.budget import Budget, ScoreSchedule
from napari_limn.training.events import Step
from napari_limn.training.first_answer.answer import FirstAnswer
from napari_limn.training.learner import Learner

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from napari_limn.model import Model
    from napari_limn.runs import Event
    from napari_limn.training.data.training_set import TrainingSet
    from napari_limn.training.planning.resolve import Resolved
    from napari_limn.training.random_stream import RandomStream


class TrainingRun:
    """One training run, whose data may be exchanged between two steps.

    Parameters
    ----------
    start
        The model that it begins with; it stays as it is.
    resolved, data
        What it goes by, and what it learns from.
    random
        That the network goes on drawing from.
    after
        A run on the same images, whose features of voxels are taken over.
    once
        Whether the run ends with its time: then what was to come after a first answer is left out where there is none left.
    """

    def __init__(
        self,
        start: Model,
        resolved: Resolved,
        data: TrainingSet,
        random: RandomStream,
        after: TrainingRun | None = None,
        *,
        once: bool = False,
    ) -> None:
        self.start, self.resolved, self.data, self._once = start, resolved, data, once
        self.budget = Budget(resolved.spec.steps, resolved.spec.seconds)
        self._schedule = ScoreSchedule(self.budget)
        self.learner = Learner(start, resolved, self.budget, random)
        self.answer: FirstAnswer = FirstAnswer(start, resolved, after.answer if after else None)
        self.best = BestModel(start, resolved, self.learner, self.answer, self.budget)
        self._due = True  # a score is
        self._warned = False  # of a step that is left out
        self._scoring: Generator[Event, None, None] | None = None  # goes on when the data are exchanged

    def renew(self, data: TrainingSet) -> None:
        """Learn from other data, with a whole budget before it.

        They are of the same images and classes.
        """
        self.data = data
        self.budget.renew()

    def learning(self) -> Generator[Event, None, Model]:
        """Answer, then learn until the budget is spent; returns the best model.

        May be closed at any time. Called again after :meth:`renew` it goes on where it was, even amid a scoring.
        """
        with self.budget.running():
            yield from self.best.warnings(self.data)
            with closing(self.answer.fit(self.data.regions, self.best.show_answer)) as answers:
                for progress in answers:
                    yield progress
                    if self._is_late():
                        break
            # read once a step: whatever takes the time of an event in between, the last step is scored
            spent = self.budget.done == 1 and self.budget.stepped
            while not self._is_late() and (self._due or self._scoring or not spent or self.budget.done < 1):
                if self._scoring is None and self._due:
                    self._scoring, self._due = self._score(), False
                if self._scoring is None:
                    loss = self.learner.step(self.data.batch().to(self.resolved.device))
                    yield from self._left_out(loss)
                    spent = (done := self.budget.done) == 1
                    self._due = spent or self._schedule.is_due(set_up=self.best.data is self.data)
                    yield Step(self.budget.steps, self.budget.seconds, loss, done)
                elif (event := next(self._scoring, None)) is not None:
                    yield event
                else:
                    self._scoring = None
            if self._is_late():
                scored = ", and nothing was scored" if self.best.current().spec.score is None else ""
                yield Noted(
                    f"The first answer took the {self.resolved.spec.seconds:g} seconds, so no network was trained{scored}; give more seconds "
                    "for that."
                )
        return self.best.current()

    def _is_late(self) -> bool:
        """Say whether the first answer took all of the time."""
        late = self._once and self.budget.limit is None and self.budget.done == 1
        return late and not self.budget.stepped and self.best.model is not None

    def _left_out(self, loss: float) -> Iterator[Warned]:
        """Say once that a step was left out."""
        if isnan(loss) and not self._warned:
            self._warned = True
            yield Warned(
                f"Step {self.budget.steps}: found a loss that is not finite (NaN or infinite), expected a number; such steps are left out. If "
                "there are many, train with a lower rate (TrainSpec.rate)."
            )

    def _score(self) -> Generator[Event, None, None]:
        """Score the network, and keep the better model.

        Held-out strokes of now decide.
        """
        if self.best.data is not self.data:
            yield from self._set_up(self.data)
        if self.start.spec.steps or self.budget.steps:  # else it has learnt nothing yet
            began = self.budget.seconds
            yield from self.best.score()
            self._schedule.scored(began)

    def _set_up(self, data: TrainingSet) -> Generator[Event, None, None]:
        """Score the first answer to these data, and distil it."""
        began = self.budget.seconds
        yield from self.best.set_up(data)
        soft_targets = yield from self.answer.soft_targets(data.regions)
        if soft_targets is not None:
            data.soft_targets = self.data.soft_targets = (
                soft_targets  # the data may have been exchanged meanwhile
            )
        self._schedule.was_set_up(began)
