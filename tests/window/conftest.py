"""What a hand does in a window: drop a file, paint, press, wait."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.settings import get_settings
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QTimer, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QMainWindow, QWidget

from napari_limn._napari.shelf import SHELF


class Hand:
    """Drives a real napari window as a person would."""

    def __init__(self, viewer, qtbot) -> None:
        self.viewer, self.qtbot = viewer, qtbot
        viewer.window.resize(1400, 900)
        self.pump(0.3)
        self.main = next(
            w for w in QApplication.topLevelWidgets() if isinstance(w, QMainWindow) and w.isVisible()
        )

    def pump(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            QApplication.processEvents()
            time.sleep(0.002)

    def find(self, name: str):
        found = self.main.findChild(QWidget, name)
        assert found is not None, f"there is no widget {name}"
        return found

    def _of_class(self, name: str) -> QWidget:
        return next(w for w in self.main.findChildren(QWidget) if type(w).__name__ == name and w.isVisible())

    def drop(self, path: Path) -> None:
        target = self._of_class("QtViewer")
        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(path))])
        common = (Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(target, QDragEnterEvent(QPoint(20, 20), *common))
        QApplication.sendEvent(target, QDropEvent(QPointF(20, 20), *common))
        self.pump(0.5)

    def open_widget(self, name: str) -> QWidget:
        _, widget = self.viewer.window.add_plugin_dock_widget("napari-limn", name)
        self.pump(0.3)
        return widget

    def canvas_point(self, row: float, column: float) -> QPoint:
        """Where a data position of the topmost layer lies on the canvas, in pixels."""
        layer = self.viewer.layers[-1]
        world = np.asarray(layer.data_to_world((row, column)))
        canvas = self._of_class("CanvasBackendDesktop")
        offset = (world - np.asarray(self.viewer.scene.camera.center[-2:])) * self.viewer.scene.camera.zoom
        return QPoint(round(canvas.width() / 2 + offset[1]), round(canvas.height() / 2 + offset[0]))

    def paint(self, points: list[tuple[float, float]], value: int) -> None:
        """One stroke of the mouse through data positions (row, column) of the active labels layer."""
        layer = self.viewer.layers.selection.active
        layer.mode, layer.selected_label = "paint", value
        canvas = self._of_class("CanvasBackendDesktop")
        places = [self.canvas_point(*p) for p in points]
        QTest.mousePress(canvas, Qt.MouseButton.LeftButton, pos=places[0])
        for place in places:
            QTest.mouseMove(canvas, place)
            self.pump(0.02)
        QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=places[-1])
        self.pump(0.05)

    def press(self, name: str) -> None:
        QTest.mouseClick(self.find(name), Qt.MouseButton.LeftButton)

    def wait_idle(self, widget, seconds: float = 60) -> None:
        self.qtbot.waitUntil(lambda: widget.job is None, timeout=round(1000 * seconds))


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
    SHELF.clear()
    driver = Hand(make_napari_viewer(show=True), qtbot)
    yield driver
    vars(driver).clear()  # napari checks that nothing holds on to its window
    SHELF.clear()
