"""A hand that drives a real napari window, and a clock that tells how the window answers."""

from __future__ import annotations

import copy
import functools
import gc
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("napari")

from hand import Hand
from napari._vispy import canvas
from napari.components import ViewerModel
from napari.settings import get_settings
from npe2.manifest import _bases
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from napari_limn._napari.panel.session import session_of, shared_models
from napari_limn._napari.training.live import LiveRun
from napari_limn.training.spec import TrainSpec


class Heartbeat:
    """A 20 ms timer in the window's thread, and the longest gap between two of its beats, in seconds."""

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.setInterval(20)
        self._timer.timeout.connect(self._beat)
        self._timer.start()

    def _beat(self) -> None:
        now = time.perf_counter()
        self.gaps.append(now - self._last)
        self._last = now


@pytest.fixture(autouse=True, scope="session")
def _windows_open_and_close_sooner():
    """Read each manifest once, and leave out a collection of garbage that drivers of Windows need.

    Both are done anew for every window, and take half of the time that it takes to open and close one.
    """

    @functools.cache
    def parsed(text: bytes):
        return read(text)

    read = _bases._load_yaml_no_duplicates
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_bases, "_load_yaml_no_duplicates", lambda file: copy.deepcopy(parsed(file.read())))
        patch.setattr(canvas, "gc", SimpleNamespace(collect=lambda: 0))
        yield


@pytest.fixture(autouse=True)
def _small_classifiers(small_classifier):
    """Windows show what is computed, however good it is."""


@pytest.fixture
def heartbeat():
    return Heartbeat()


@pytest.fixture
def hand(make_napari_viewer, qtbot):
    get_settings().plugins.extension2reader = {
        "*.tif": "napari-limn",
        "*.zarr": "napari-limn",
        "*.zarr/": "napari-limn",
    }
    shared_models().clear()
    gc.freeze()  # what is there already need not be looked through when the window is closed
    driver = Hand(make_napari_viewer(show=True))
    driver.qtbot = qtbot
    yield driver
    vars(driver).clear()  # napari checks that nothing holds on to its window
    shared_models().clear()


@pytest.fixture
def viewer():
    """A viewer without a window, with a stack in it."""
    found = ViewerModel()
    found.add_image(
        np.zeros((4, 20, 30)), name="cells", scale=(2, 0.5, 0.5), translate=(1, 2, 3), units=("um",) * 3
    )
    return found


@pytest.fixture
def live_run(hand, qtbot):
    """An image, its strokes, and live training on them without a panel."""
    image = hand.viewer.add_image(np.zeros((40, 50), np.float32), name="a")
    labels = hand.viewer.add_labels(np.zeros((40, 50), np.uint8), name="s")
    parent = QWidget()
    qtbot.addWidget(parent)
    session = session_of(hand.viewer)
    run = LiveRun(hand.viewer, session, [image], labels, TrainSpec(), None, lambda: False, parent)
    yield image, labels, run
    parent.close()  # it lives as long as the run; qtbot itself does not hold it
