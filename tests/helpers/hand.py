"""What a hand does in a napari window: drop a file, open a menu, paint, press keys and buttons, wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QTimer, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent, QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QMainWindow, QScrollArea, QTabBar, QWidget

from napari_limn._napari.dock.dock import LimnWidget
from napari_limn._napari.files.samples import painted_sem
from napari_limn._napari.objects.objects import ObjectsWidget
from napari_limn._napari.painting.classes import ClassesWidget
from napari_limn._napari.painting.strokes import StrokesWidget
from napari_limn._napari.prediction.compare import CompareWidget
from napari_limn._napari.prediction.predict import PredictWidget
from napari_limn._napari.prediction.review import ReviewWidget
from napari_limn._napari.training.train import TrainWidget

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECTIONS = {
    "Classes": ClassesWidget,
    "Compare": CompareWidget,
    "Objects": ObjectsWidget,
    "Predict": PredictWidget,
    "Review": ReviewWidget,
    "Strokes": StrokesWidget,
    "Train": TrainWidget,
}
LEFT = Qt.MouseButton.LeftButton
NOTHING = Qt.KeyboardModifier.NoModifier


def pump(seconds: float) -> None:
    """Let the window work for a while."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        QApplication.processEvents()
        QApplication.sendPostedEvents(
            None, QEvent.Type.DeferredDelete.value
        )  # as the loop of a window that runs does
        time.sleep(0.002)


class Hand:
    """Drives a real napari window as a person would."""

    def __init__(self, viewer, size: tuple[int, int] = (1400, 900)) -> None:
        self.viewer = viewer
        viewer.window.resize(*size)
        self.pump(0.1)
        self.main = next(
            w for w in QApplication.topLevelWidgets() if isinstance(w, QMainWindow) and w.isVisible()
        )

    pump = staticmethod(pump)

    def wait(self, until: Callable[[], object], seconds: float = 60) -> None:
        """Let the window work until something holds."""
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end:
                raise TimeoutError(f"waited for {seconds:g} s in vain")
            QTest.qWait(10)  # deletes what is to be deleted later, too

    def wait_idle(self, widget, seconds: float = 180) -> None:
        self.wait(lambda: widget.job is None, seconds)

    # ---- what is in the window -----------------------------------------------------------------------------------
    def find(self, name: str):
        found = self.main.findChild(QWidget, name)
        assert found is not None, f"there is no widget {name}"
        return found

    def _of_class(self, name: str) -> QWidget:
        return next(w for w in self.main.findChildren(QWidget) if type(w).__name__ == name and w.isVisible())

    @property
    def canvas(self) -> QWidget:
        return self._of_class("CanvasBackendDesktop")

    def canvas_point(self, row: float, column: float) -> QPoint:
        """Where a data position of the topmost layer lies on the canvas, in pixels."""
        layer = self.viewer.layers[-1]
        world = np.asarray(layer.data_to_world((row, column)))
        offset = (world - np.asarray(self.viewer.scene.camera.center[-2:])) * self.viewer.scene.camera.zoom
        return QPoint(round(self.canvas.width() / 2 + offset[1]), round(self.canvas.height() / 2 + offset[0]))

    def open_sample(self) -> None:
        """A piece of the sample image and its strokes, as File → Open Sample adds them."""
        for data, look, kind in painted_sem():
            getattr(self.viewer, f"add_{kind}")(np.asarray(data)[352:480, 416:544], **look)

    # ---- files, menus, tabs, dialogs -----------------------------------------------------------------------------
    def drop(self, path: Path) -> None:
        target = self._of_class("QtViewer")
        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(path))])
        common = (Qt.DropAction.CopyAction, mime, LEFT, NOTHING)
        QApplication.sendEvent(target, QDragEnterEvent(QPoint(20, 20), *common))
        QApplication.sendEvent(target, QDropEvent(QPointF(20, 20), *common))
        self.pump(0.3)

    def open_dock(self) -> LimnWidget:
        """Open the dock with all steps, as its entry in the menu does."""
        _, widget = self.viewer.window.add_plugin_dock_widget("napari-limn", "Limn")
        self.pump(0.1)
        return widget

    def open_widget(self, name: str) -> QWidget:
        """Show one section of the dock in a dock of its own."""
        title = f"{name} (napari-limn)"
        if title in self.viewer.window.dock_widgets:
            return self.viewer.window.dock_widgets[title]
        widget = SECTIONS[name](self.viewer)
        self.viewer.window.add_dock_widget(widget, name=title)
        self.pump(0.1)
        return widget

    def menu(self, *names: str) -> None:
        """Click through the menus; a name is what an entry begins with."""
        menu = self.main.menuBar()
        for name in names:
            action = next(a for a in menu.actions() if a.text().replace("&", "").startswith(name))
            QTest.mouseClick(menu, LEFT, pos=menu.actionGeometry(action).center())
            self.pump(0.1)
            menu = action.menu()

    def tab(self, name: str) -> None:
        """Click the tab of a widget that lies behind others; nothing if it has none."""
        for bar in self.main.findChildren(QTabBar):
            for index in range(bar.count()):
                if bar.isVisible() and bar.tabText(index) == name:
                    QTest.mouseClick(bar, LEFT, pos=bar.tabRect(index).center())
        self.pump(0.3)

    def in_dialog(self, act: Callable[[QWidget], object], open_it: Callable[[], object]) -> None:
        """Do something that opens a dialog, and `act` in the dialog, which has to close it."""
        timer, faults = QTimer(), []

        def look() -> None:
            dialog = QApplication.activeModalWidget()
            if dialog is not None and dialog.isVisible():
                timer.stop()
                try:
                    self.pump(0.2)
                    act(dialog)
                except Exception as fault:  # noqa: BLE001 - raised below: not through Qt's own loop
                    faults.append(fault)
                    dialog.close()

        timer.timeout.connect(look)
        timer.start(50)
        open_it()
        timer.stop()
        if faults:
            raise faults[0]

    def scroll_to(self, name: str) -> None:
        """Turn the wheel over a panel until a control is in sight."""
        control = area = self.find(name)
        while not isinstance(area, QScrollArea) or area.widget() is None or control is area:
            area = area.parentWidget()
        area.ensureWidgetVisible(control)
        self.pump(0.1)

    # ---- mouse and keys ------------------------------------------------------------------------------------------
    def press(self, name: str) -> None:
        QTest.mouseClick(self.find(name), LEFT)

    def key(self, key, modifiers=NOTHING) -> None:
        """A key while the mouse is over the canvas."""
        QTest.keyClick(self.canvas, key, modifiers)
        self.pump(0.05)

    def write(self, name: str, text: str) -> None:
        """Write into a field, over what is there, and press Enter."""
        field = self.find(name)
        field.setFocus()
        QTest.keyClick(field, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
        QTest.keyClicks(field, text)
        QTest.keyClick(field, Qt.Key.Key_Return)
        self.pump(0.1)

    def wheel(self, notches: int, row: float, column: float) -> None:
        """Turn the wheel, away from the hand, with the mouse over a data position."""
        canvas, way = self.canvas, 1 if notches > 0 else -1
        for _ in range(abs(notches)):
            at = QPointF(self.canvas_point(row, column))
            event = QWheelEvent(
                at, QPointF(canvas.mapToGlobal(at.toPoint())), QPoint(), QPoint(0, 120 * way),
                Qt.MouseButton.NoButton, NOTHING, Qt.ScrollPhase.NoScrollPhase, False,
            )  # fmt: skip
            QApplication.sendEvent(canvas, event)
            self.pump(0.03)

    def click(self, row: float, column: float, modifiers=NOTHING) -> None:
        """Click a data position."""
        QTest.mouseClick(self.canvas, LEFT, modifiers, pos=self.canvas_point(row, column))
        self.pump(0.1)

    def stroke(self, points: list[tuple[float, float]]) -> None:
        """Press, move through data positions, release."""
        places = [self.canvas_point(*p) for p in points]
        QTest.mousePress(self.canvas, LEFT, pos=places[0])
        for place in places:
            QTest.mouseMove(self.canvas, place)
            self.pump(0.01)
        QTest.mouseRelease(self.canvas, LEFT, pos=places[-1])
        self.pump(0.02)

    def paint(self, points: list[tuple[float, float]], value: int) -> None:
        """One stroke of the mouse through data positions (row, column) of the active labels layer."""
        layer = self.viewer.layers.selection.active
        layer.mode, layer.selected_label = "paint", value
        self.stroke(points)
