"""How much of a run is spent, and when it is scored."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCORES = 20  # in a run whose steps are given
_FIRST_SCORE = 2.0  # seconds; a user who stops early keeps something
_SCORING_SHARE = 0.1  # of the time, at most
# of the time, at most. Only when a score is due: strokes in quick succession would have the held-out classifier fitted all the time
_SET_UP_SHARE = 0.2


class Budget:
    """Steps and seconds of a run, and their share of the budget.

    Parameters
    ----------
    limit
        Number of steps; None for a budget of time.
    duration
        Seconds, where no number of steps is given.

    Examples
    --------
    >>> budget = Budget(4, 60.0)
    >>> budget.count_step()
    >>> budget.done
    0.25
    >>> budget.renew()
    >>> budget.done, budget.total_share
    (0.0, 0.25)
    """

    def __init__(self, limit: int | None, duration: float) -> None:
        self.limit, self._duration = limit, duration
        self.steps = 0
        self._seconds = 0.0
        self._resumed: float | None = None
        self._renewed = (0, 0.0)  # steps and seconds then

    @property
    def seconds(self) -> float:
        """Give the time spent in :meth:`running`."""
        return self._seconds + (0.0 if self._resumed is None else time.perf_counter() - self._resumed)

    @property
    def done(self) -> float:
        """Give the share spent since the budget was renewed, 0–1."""
        steps, seconds = self._renewed
        return min(1.0, self._share(self.steps - steps, self.seconds - seconds))

    @property
    def total_share(self) -> float:
        """Give the share spent since the run began.

        More than 1 where the budget was renewed.
        """
        return self._share(self.steps, self.seconds)

    @property
    def stepped(self) -> bool:
        """Say whether a step was taken since the budget was renewed."""
        return self.steps > self._renewed[0]

    def _share(self, steps: int, seconds: float) -> float:
        return steps / self.limit if self.limit else seconds / self._duration

    def count_step(self) -> None:
        """Count one step."""
        self.steps += 1

    def renew(self) -> None:
        """Begin the budget anew; steps and seconds are counted on."""
        self._renewed = (self.steps, self.seconds)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let the clock run."""
        self._resumed = time.perf_counter()
        try:
            yield
        finally:
            self._seconds, self._resumed = self.seconds, None


class ScoreSchedule:
    """When the next score is due.

    With a number of steps, twenty times; with a budget of time every two seconds, or less often where scoring takes long.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._next_score, self._next_set_up = _FIRST_SCORE, 0.0

    def is_due(self, *, set_up: bool) -> bool:
        """Say whether a score is due.

        `set_up`: whether the selector knows the held-out strokes of now.
        """
        budget = self._budget
        if budget.limit:
            return budget.steps % max(1, budget.limit // _SCORES) == 0
        next_time = self._next_score if set_up else max(self._next_score, self._next_set_up)
        return budget.seconds >= next_time

    def scored(self, began: float) -> None:
        """Note a scoring that ends now.

        `began` is in seconds of the budget.
        """
        took = self._budget.seconds - began
        self._next_score = self._budget.seconds + max(_FIRST_SCORE, took / _SCORING_SHARE)

    def was_set_up(self, began: float) -> None:
        """Note that setting up the selector ends now.

        `began` is in seconds of the budget.
        """
        took = self._budget.seconds - began
        self._next_set_up = self._budget.seconds + took / _SET_UP_SHARE
