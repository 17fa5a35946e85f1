"""How the window answers while training and predicting run: gaps of a 20 ms timer in its thread, and time from Stop to idle.

python benchmarks/window.py            (under a display, or xvfb-run -a -s "-screen 0 1600x1000x24")
"""

from __future__ import annotations

import time

import napari
import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_limn._napari.files.samples import painted_sem
from napari_limn._napari.prediction.predict import PredictWidget
from napari_limn._napari.training.train import TrainWidget


class Heartbeat:
    def __init__(self) -> None:
        self.gaps: list[float] = []
        self.last = time.perf_counter()
        self.timer = QTimer()
        self.timer.setInterval(20)
        self.timer.timeout.connect(self.beat)
        self.timer.start()

    def beat(self) -> None:
        now = time.perf_counter()
        self.gaps.append(now - self.last)
        self.last = now

    def report(self, what: str) -> None:
        gaps = 1000 * np.array(self.gaps)
        print(
            f"{what}: {len(gaps)} beats, 99 % of gaps ≤ {np.percentile(gaps, 99):.0f} ms, longest {gaps.max():.0f} ms"
        )
        self.gaps.clear()


def pump(until: object, most: float) -> None:
    end = time.monotonic() + most
    while time.monotonic() < end and not until():
        QApplication.processEvents()
        time.sleep(0.001)


def main() -> None:
    viewer = napari.Viewer()
    for data, look, kind in painted_sem():
        getattr(viewer, f"add_{kind}")(data, **look)
    viewer.add_image(
        np.random.default_rng(0).integers(0, 255, (40, 756, 764), np.uint8), name="stack", visible=False
    )
    viewer.layers.move(2, 0)
    train, predict = TrainWidget(viewer), PredictWidget(viewer)
    viewer.window.add_dock_widget(train, name="Train", area="right")
    viewer.window.add_dock_widget(predict, name="Predict", area="right")
    train.labels.value = next(layer for layer in viewer.layers if layer.name == "strokes")
    viewer.window.resize(1500, 950)
    heart = Heartbeat()
    pump(lambda: False, 8)  # PyTorch is being imported
    heart.report("idle")

    train.image.value, train.seconds.value = viewer.layers["SEM rat 3"], 30
    train.run_box.start_button.click()
    pump(lambda: train.job is None, 90)
    heart.report("training, 30 s")

    predict.image.value = viewer.layers["SEM rat 3"]
    predict.run_box.start_button.click()
    pump(lambda: predict.job is None, 90)
    heart.report("predicting the image")

    train.seconds.value = 300
    train.run_box.start_button.click()
    pump(lambda: len(train.curve.losses) > 20, 60)
    print(f"Stop to idle: {stopped(train):.2f} s")

    predict.image.value = viewer.layers["stack"]
    predict.run_box.start_button.click()
    pump(lambda: predict.run_box.progress.value() > 100, 120)
    print(f"Cancel to idle: {stopped(predict):.2f} s")
    heart.report("stopping and cancelling")
    viewer.close()


def stopped(panel: TrainWidget | PredictWidget) -> float:
    began = time.perf_counter()
    panel.run_box.stop_button.click()
    pump(lambda: panel.job is None, 30)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
