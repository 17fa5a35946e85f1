"""The one bridge between a run and the window."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import threading
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari.qt.threading import WorkerBase, WorkerBaseSignals
from napari.utils import progress
from qtpy.QtCore import QThreadPool, Signal  # type: ignore[attr-defined]

from napari_limn.training.planning.presets import pixel_features, preset_network

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from napari_limn.runs import Event


NEEDED = ("training.live", "inference.pipeline", "inference.view", "execution.interleave")
"""Modules that runs import in their threads."""

_NICE = 5
_PARTS = 100  # of a run, in napari's activity dock
_RUNS = 64  # threads for runs of all panels and windows, however few processors there are


class JobSignals(WorkerBaseSignals):  # type: ignore[misc]
    """Signals of a job; `event` carries what the run yields."""

    event = Signal(object)


class Job(WorkerBase):  # type: ignore[misc]
    """Run a generator of events in a thread of the pool.

    Connect to `event`, `returned`, `errored` and `finished`, then ``start()``. ``quit()`` closes the generator at its
    next event, so that its ``finally`` runs; `returned` then carries None.

    Notes
    -----
    napari's own worker for generators loses RuntimeErrors, PyTorch's among them, and never closes the generator.
    """

    def __init__(self, run: Generator[Event, None, Any]) -> None:
        super().__init__(SignalsClass=JobSignals)
        self._events = run

    def start(self) -> None:
        """Start at once.

        Qt's pool has one thread a processor: a third run on two would wait, and could not be stopped.
        """
        if (pool := QThreadPool.globalInstance()) is not None:
            pool.setMaxThreadCount(max(pool.maxThreadCount(), _RUNS))
        _end_at_exit()
        super().start()

    def close(self) -> None:
        """Close the run of a job that was never started."""
        self._events.close()

    def work(self) -> Any:
        """Hand on events until the run ends or is stopped.

        Returns what the run returns.
        """
        _give_way()
        with closing(self._events) as events, _short_collections():
            while not self.abort_requested:
                try:
                    self.event.emit(next(events))
                except StopIteration as end:
                    return end.value
        return None


def _give_way() -> None:
    """Let the window go first where both want to compute.

    That holds for this thread and those that it starts.

    It stays so: only a privileged user may take that back, and whatever this thread of the pool runs later is a run too.
    """
    if sys.platform == "linux":  # where each thread has a priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


@contextmanager
def _short_collections() -> Iterator[None]:
    """Keep Python's garbage collector short while a run allocates.

    Else it looks through napari and PyTorch again and again.

    A full collection takes about 0.3 s with both loaded, in which the window does not answer.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class Activity:
    """A run's line in napari's activity dock."""

    def __init__(self) -> None:
        self._bar: progress | None = None

    def begin(self, what: str) -> None:
        """Add the line."""
        self.end()
        self._bar = progress(total=_PARTS, desc=f"Limn: {what}")

    def advance(self, share: float) -> None:
        """Show how far the run is, from 0 to 1."""
        if self._bar is not None and (more := round(_PARTS * share) - int(self._bar.n)) > 0:
            self._bar.update(more)

    def end(self) -> None:
        """Take the line away."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()


@cache
def _end_at_exit() -> None:
    """Let runs end before Python does.

    A script without a loop of Qt has nobody else who waits for them.
    """
    atexit.register(WorkerBase.await_workers)


@cache
def warm_up() -> None:
    """Import in a thread what a run needs, once.

    Done later, it would hold up the window while the user works.
    """
    threading.Thread(target=_import_all, name="limn-warm-up").start()


def _import_all() -> None:
    for name in NEEDED:
        import_module(f"napari_limn.{name}")
    import_module("napari_limn.training.first_answer.fit").load()
    # the first network that is traced makes PyTorch look at each of its functions
    network = replace(preset_network("balanced", 2), pixels=pixel_features(2))
    import_module("napari_limn.network.footprint").footprint(network)
