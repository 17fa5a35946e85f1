"""Training and predicting the view, interleaved in one thread."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

from napari_limn.runs import Event, Working
from napari_limn.training.events import Improved, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_limn.inference.view import View, ViewPredictor

# of the time, for blocks by how near they are, while there is something to learn
_SHARES = (1 / 2, 1 / 10, 1 / 10)
BESIDE = (1 / 10, 1 / 50, 1 / 50)
"""Shares that leave a training with a time budget nearly all of it."""
_AHEAD = 1.0  # seconds that what is on the screen may take in advance: blocks of one model then come one upon the other


def interleaved(
    training: Generator[Event, None, None],
    predictor: ViewPredictor,
    view_now: Callable[[], View],
    shares: tuple[float, ...] = _SHARES,
) -> Generator[Event, None, None]:
    """Train, and predict the view with the best model so far.

    What is on the screen gets half of the time, and its neighbours a tenth, as long as training goes on; all of it when that
    rests. A field of a few blocks is computed at once when there is a better model, and training gets its time afterwards.

    Parameters
    ----------
    training
        As :func:`~napari_limn.training.live.live_events`; closed in the end.
    predictor
        Of the image that is trained on.
    view_now
        What is looked at at the moment; called between two blocks, in whatever thread runs this.
    shares
        Of the time, from 0 to 1: for what is on the screen, beside it, and further away.
    """
    balance = 0.0  # seconds that the view is owed, where negative training is
    resting = False
    with closing(training):
        while True:
            turn = predictor.next_turn(view_now())
            began = time.perf_counter()
            if turn is not None and balance >= (-_AHEAD if turn.tier == 0 else 0.0):
                yield from predictor.compute(turn, view_now)
                share = shares[turn.tier]
                balance -= (time.perf_counter() - began) * (1 - share) / share
                continue
            event = next(training, None)
            if event is None:
                return
            balance += time.perf_counter() - began
            resting = isinstance(event, Waiting) or (resting and isinstance(event, Working))
            if resting:
                balance = 0.0
            elif turn is None:
                balance = min(balance, 0.0)  # nothing is saved up
            yield event
            if isinstance(event, Improved):
                yield from predictor.improve(event.model)
