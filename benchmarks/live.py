"""Live mode in a real window: how soon the first preview comes, how often it is renewed, and how the window answers meanwhile.

python benchmarks/live.py [SECONDS]    (under a display, or xvfb-run -a -s "-screen 0 1600x1000x24")

A field of 512 × 512 pixels of the sample image is on the screen. A simulated mouse paints strokes inside the true classes, one
every 1.5 s: first without live mode, then with it. A preview counts when its last block is in and the layer was refreshed.
"""

from __future__ import annotations

import sys
import time

import napari
import numpy as np
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

from napari_limn import samples
from napari_limn._napari.layers.layers import colormap
from napari_limn._napari.training.train import TrainWidget
from napari_limn.events import BlockDone, Repainted, Scored
from napari_limn.volume.boxes import whole
from napari_limn.volume.reading.open import open_volume
from window import Heartbeat, pump

SIDE = 512
PAUSE = 1.5  # seconds between two strokes
HAND = 0.2  # from a key or a button of the panel to the canvas: the window gets its events one by one, not all in one beat


class Mouse:
    """Paints by the canvas's own mouse events."""

    def __init__(self, viewer: napari.Viewer, heart: Heartbeat) -> None:
        self.viewer, self.heart = viewer, heart
        self.canvas = next(
            w
            for window in QApplication.topLevelWidgets()
            for w in window.findChildren(QWidget)
            if type(w).__name__ == "CanvasBackendDesktop" and w.isVisible()
        )

    def point(self, row: float, column: float) -> QPoint:
        camera = self.viewer.scene.camera
        offset = (np.array([row, column]) - np.asarray(camera.center[-2:])) * camera.zoom
        return QPoint(round(self.canvas.width() / 2 + offset[1]), round(self.canvas.height() / 2 + offset[0]))

    def stroke(self, points: list[tuple[int, int]], value: int) -> None:
        self.viewer.layers["strokes"].selected_label = value
        pump(lambda: False, HAND)
        places = [self.point(*p) for p in points]
        QTest.mousePress(self.canvas, Qt.MouseButton.LeftButton, pos=places[0])
        pump(lambda: False, 0.03)
        for place in places:
            QTest.mouseMove(self.canvas, place)
            pump(lambda: False, 0.03)
        QTest.mouseRelease(self.canvas, Qt.MouseButton.LeftButton, pos=places[-1])


def strokes_of(truth: np.ndarray, count: int) -> list[tuple[list[tuple[int, int]], int]]:
    """Strokes of 12 pixels inside the true classes, these by turns."""
    found: dict[int, list[list[tuple[int, int]]]] = {1: [], 2: [], 3: []}
    for row in range(10, SIDE - 10, 7):
        for column in range(10, SIDE - 20, 11):
            piece = truth[row - 1 : row + 2, column : column + 12]
            if len(values := np.unique(piece)) == 1:
                found[int(values[0])].append([(row, column + step) for step in range(0, 12, 2)])
    rng = np.random.default_rng(0)
    drawn = {value: [own[i] for i in rng.permutation(len(own))] for value, own in found.items()}
    return [(drawn[1 + i % 3][i // 3 % len(drawn[1 + i % 3])], 1 + i % 3) for i in range(count)]


class Ear:
    """When previews of the whole field came, and when new paint was noticed and counted."""

    def __init__(self, train: TrainWidget) -> None:
        self.previews: list[float] = []
        self.noticed: list[float] = []
        self.counted: list[float] = []
        self.scorings: list[bool] = []
        self.train, self.waiting = train, False
        self._on_event, train.controller.on_event = train.controller.on_event, self.on_event
        self.refreshed = 0

    def on_event(self, event: object) -> None:
        self._on_event(event)
        now = time.perf_counter()
        match event:
            case BlockDone(done=done, total=total) if done == total and self.follower is not None:
                self.follower.layer.events.set_data.connect(self._shown)
                self.waiting = True
            case Scored(best=best):
                self.scorings.append(best)
            case Repainted(counts=True):
                self.counted.append(now)
            case Repainted():
                self.noticed.append(now)

    def noticed_after(self, released: float) -> float | None:
        """Seconds until a stroke was noticed; None if others were at that moment, that no run had begun with yet."""
        before = max((t for t in self.noticed if t < released), default=0)
        if not any(before < t < released for t in self.counted) and before:
            return None
        return min((t - released for t in self.noticed if t > released), default=None)

    @property
    def follower(self):  # noqa: ANN201
        return self.train.live_run and self.train.live_run.refresher

    def _shown(self, _: object = None) -> None:
        if self.waiting:
            self.waiting = False
            self.previews.append(time.perf_counter())


def tell(what: str, waits: list[float]) -> None:
    found = f"after {np.median(waits):.2f} s (median), {max(waits):.2f} s at most" if waits else "never"
    print(f"strokes {what} {found}")


def main(seconds: float) -> None:
    image, truth = (
        open_volume(path).read(whole(open_volume(path).grid))[0, 0, 0][:SIDE, :SIDE]
        for path in (samples.PAINTED.image, samples.PAINTED.truth)
    )
    viewer = napari.Viewer()
    viewer.window.resize(1200, 800)
    viewer.add_image(image, name="SEM rat 3")
    labels = viewer.add_labels(np.zeros((SIDE, SIDE), np.uint8), name="strokes")
    labels.colormap, labels.mode, labels.brush_size = colormap(samples.COLORS), "paint", 3
    train = TrainWidget(viewer)
    viewer.window.add_dock_widget(train, name="Train", area="right")
    heart = Heartbeat()
    pump(lambda: False, 6)  # PyTorch is being imported
    viewer.reset_view()
    pump(lambda: False, 1)
    mouse = Mouse(viewer, heart)
    strokes = iter(strokes_of(truth, 300))
    heart.report("idle")

    until = time.perf_counter() + 8
    while time.perf_counter() < until:
        mouse.stroke(*next(strokes))
        pump(lambda: False, PAUSE)
    heart.report("painting alone")
    labels.data = np.zeros((SIDE, SIDE), np.uint8)

    ear, strokes = Ear(train), iter(strokes_of(truth, 300))
    pump(lambda: False, 1)
    heart.gaps.clear()
    train.live.value = True
    pump(lambda: False, HAND)
    for _ in range(6):
        mouse.stroke(*next(strokes))
    first = time.perf_counter()
    released = []
    while time.perf_counter() < first + seconds:
        pump(lambda: False, PAUSE)
        mouse.stroke(*next(strokes))
        released.append(time.perf_counter())
    heart.report("painting, live training and predicting")
    gaps = np.diff([first, *ear.previews])  # at least one
    print(
        f"first preview of {SIDE} × {SIDE} after the first strokes: {ear.previews[0] - first:.2f} s; then {len(gaps) - 1} more, "
        f"one every {np.median(gaps[1:] if len(gaps) > 1 else gaps):.2f} s (median), {max(gaps):.2f} s at most; "
        f"{sum(ear.scorings)} of {len(ear.scorings)} models were better than the best before"
    )
    waits = [ear.noticed_after(r) for r in released[:-2]]
    tell("noticed", [wait for wait in waits if wait is not None])
    tell(
        "trained with",
        [min(t for t in ear.counted if t > r) - r for r in released if max(ear.counted, default=0) > r],
    )
    agree = (np.asarray(train.live_run.layer.data) == truth).mean()
    print(f"{agree:.1%} of the preview's pixels are right, {len(released) + 6} strokes were painted")

    pump(lambda: False, 6)
    heart.report("looking on while it trains")
    began = time.perf_counter()
    train.live.value = False
    pump(lambda: train.job is None, 30)
    print(f"Live off to idle: {time.perf_counter() - began:.2f} s")
    if len(sys.argv) > 2:
        import imageio.v3 as imageio

        imageio.imwrite(sys.argv[2], viewer.screenshot(canvas_only=False, flash=False))
    viewer.close()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 40)
