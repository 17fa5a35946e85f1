"""Training and predicting what is looked at, by turns in one thread, so that both go on while the person paints."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from napari_limn.events import Event, Improved, Working

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_limn.inference.view import View, ViewPredictor

_SHARE = (
    1 / 2,
    1 / 10,
    1 / 10,
)  # of the time, for blocks by how near they are, while there is something to learn


def by_turns(
    training: Generator[Event, None, None], predictor: ViewPredictor, view_now: Callable[[], View]
) -> Generator[Event, None, None]:
    """Train, and predict what is looked at with the best model so far.

    What is on the screen gets half of the time, and its neighbours a tenth, as long as training goes on; all of it when that
    rests.

    Parameters
    ----------
    training
        As :func:`~napari_limn.training.live.live_events`; closed in the end.
    predictor
        Of the image that is trained on.
    view_now
        What is looked at at the moment; called between two blocks, in whatever thread runs this.
    """
    balance = 0.0  # seconds that the view is owed, where negative training is
    with closing(training):
        while True:
            turn = predictor.next_turn(view_now())
            began = time.perf_counter()
            if turn is not None and balance >= 0:
                yield from predictor.compute(turn, view_now)
                share = _SHARE[turn.tier]
                balance -= (time.perf_counter() - began) * (1 - share) / share
                continue
            event = next(training, None)
            if event is None:
                return
            balance += time.perf_counter() - began
            if turn is None or isinstance(event, Working):
                balance = 0.0  # nothing is saved up
            yield event
            if isinstance(event, Improved):
                yield from predictor.improve(event.model)
