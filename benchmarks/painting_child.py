"""The window that `painting_killed.py` kills: brings strokes back, paints more, and tells of each when it is finished.

python benchmarks/painting_child.py IMAGE.zarr TOLD SEED
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import napari
import numpy as np
from painting import pump
from painting_killed import digest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QPushButton, QWidget

from napari_limn._napari.painting.strokes import StrokesWidget

if TYPE_CHECKING:
    from napari_limn._napari.painting.recorder import Recorder


def main() -> None:
    path, log, chance = Path(sys.argv[1]), Path(sys.argv[2]), np.random.default_rng(int(sys.argv[3]))
    viewer = napari.Viewer()
    viewer.open(str(path), plugin="napari-limn")
    widget = StrokesWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Strokes", area="right")
    viewer.window.resize(1400, 900)
    pump(1)
    back = widget.findChild(QPushButton, "limn-strokes-offer-back")
    button = back if back.isVisible() else widget.new_button
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    pump(0.5)
    layer = list(viewer.layers)[-1]
    layer.brush_size = 30
    recorder = widget._journals.of(layer)
    canvas = next(
        w for w in widget.window().findChildren(QWidget) if type(w).__name__ == "CanvasBackendDesktop"
    )
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    print("painting", flush=True)
    while True:
        deed(widget, canvas, layer, chance)
        tell(file, recorder)
        if chance.random() < 0.3:  # a redraw takes long without a graphics card
            QApplication.processEvents()


def deed(
    widget: StrokesWidget, canvas: QWidget, layer: napari.layers.Labels, chance: np.random.Generator
) -> None:
    what = chance.random()
    control, shift = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
    if what < 0.1:
        QTest.keyClick(canvas, Qt.Key.Key_Z, control)
    elif what < 0.15:
        QTest.keyClick(canvas, Qt.Key.Key_Z, control | shift)
    elif what < 0.2:
        QTest.mouseClick(widget.undo_button, Qt.MouseButton.LeftButton)
    else:
        layer.selected_label = int(chance.integers(1, 6))
        size = np.array([canvas.width(), canvas.height()])
        start = size / 2 + chance.uniform(-0.25, 0.25, 2) * size.min()
        step = chance.uniform(-12, 12, 2)
        places = [QPoint(*map(round, start + i * step)) for i in range(chance.integers(2, 15))]
        QTest.mousePress(canvas, Qt.MouseButton.LeftButton, pos=places[0])
        for place in places:
            QTest.mouseMove(canvas, place)
        QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=places[-1])


def tell(file: int, recorder: Recorder) -> None:
    os.write(file, f"{recorder.recording.count} {digest(recorder.layer.data)}\n".encode())


if __name__ == "__main__":
    main()
