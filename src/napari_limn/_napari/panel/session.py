"""What the widgets of one window share, and what all windows.

No Qt: controllers use it, too.

Why: a widget asks for the session of its viewer and keeps no module global. What is shared by all windows is shared on
purpose, and is listed in :class:`Shared`.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari_limn._napari.panel.models import ModelRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from napari_limn.inference.view import ViewPredictor


@dataclass(frozen=True, slots=True)
class Sight:
    """What the user works on.

    Parameters
    ----------
    image
        The image layer that was opened or selected last; None while there is none.
    channels
        Further image layers that are channels of it.
    strokes
        The layer that is painted on; None while there is none.
    """

    image: Image | None = None
    channels: tuple[Image, ...] = ()
    strokes: Labels | None = None


class FewerThreads:
    """Lets live runs compute with a thread fewer than there are processors.

    PyTorch has one number of threads for the whole process, so all live runs share this: the last one that ends gives
    back what there was before the first.
    """

    def __init__(self) -> None:
        self._before: list[int] = []  # for each run that goes on, the threads before the first of them

    @contextmanager
    def during(self) -> Iterator[None]:
        """Leave a processor to the window, in the thread of a run."""
        import torch

        before = self._before[0] if self._before else torch.get_num_threads()
        self._before.append(before)
        torch.set_num_threads(max(1, min(before, (os.cpu_count() or 2) - 1)))
        try:
            yield
        finally:
            self._before.remove(before)
            torch.set_num_threads(before)


class Previews:
    """Previews of live mode, their image layers and predictors."""

    def __init__(self) -> None:
        # nothing in here may hold on to the layer of the preview
        self._known: WeakKeyDictionary[Labels, tuple[tuple[Image, ...], ViewPredictor]] = WeakKeyDictionary()

    def remember(self, layer: Labels, images: Sequence[Image], predictor: ViewPredictor) -> None:
        """Note what predicts a preview."""
        self._known[layer] = tuple(images), predictor

    def predictor(self, layer: Any, images: Sequence[Image]) -> ViewPredictor | None:
        """Return what predicted a preview of these image layers.

        None if the layer is no such preview.
        """
        shown, predictor = self._known.get(layer, ((), None))
        return predictor if shown == tuple(images) else None


class RunQueue:
    """Let one run start at a time; the others wait."""

    def __init__(self) -> None:
        self._tickets: list[Ticket] = []

    def enter(self, start: Callable[[], object], waits: Callable[[int], object]) -> Ticket:
        """Queue up; returns what leaves the queue.

        Parameters
        ----------
        start
            Called when it is the run's turn, at once if no other is there.
        waits
            Called with how many runs come before it, whenever that changes.
        """
        ticket = Ticket(self, start, waits)
        self._tickets.append(ticket)
        self._call(ticket)
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Leave, from whatever place; those behind move up."""
        if ticket in self._tickets:
            at = self._tickets.index(ticket)
            self._tickets.remove(ticket)
            for behind in self._tickets[at:]:
                self._call(behind)

    def _call(self, ticket: Ticket) -> None:
        if (before := self._tickets.index(ticket)) == 0:
            ticket.start()
        else:
            ticket.waits(before)


@dataclass(eq=False)
class Ticket:
    """A place in a queue."""

    queue: RunQueue
    start: Callable[[], object]
    waits: Callable[[int], object]

    def leave(self) -> None:
        """Give the place up."""
        self.queue.leave(self)


@dataclass(frozen=True, slots=True)
class Shared:
    """What all windows of the process share."""

    models: ModelRegistry = field(default_factory=ModelRegistry)
    threads: FewerThreads = field(default_factory=FewerThreads)
    queue: RunQueue = field(default_factory=RunQueue)


class Session:
    """What the widgets of one window share.

    Parameters
    ----------
    shared
        What it shares with other windows: models that are trained in one are offered in all of them.
    """

    def __init__(self, shared: Shared) -> None:
        self.models = shared.models
        self.threads = shared.threads
        self.queue = shared.queue
        self.previews = Previews()

    def is_of(self, origin: object) -> bool:
        """Return whether a new model is to be chosen here.

        `origin` is the session that it came in, None for all of them. In another window the user works on something else.
        """
        return origin is None or origin is self


_SHARED = Shared()
_SESSIONS: WeakKeyDictionary[ViewerModel, Session] = WeakKeyDictionary()


def session_of(viewer: ViewerModel) -> Session:
    """Return the session of a viewer; it ends with the viewer."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # napari gives plugins a stand-in, another one each time
    if viewer not in _SESSIONS:
        _SESSIONS[viewer] = Session(_SHARED)
    return _SESSIONS[viewer]


def shared_models() -> ModelRegistry:
    """Return the models that all windows share."""
    return _SHARED.models
