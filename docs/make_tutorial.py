"""The ten steps of docs/tutorial.md, by simulated mouse and keyboard in a real napari window, each one checked and photographed.

    python docs/make_tutorial.py [--out docs/tutorial] [--seconds 60]     (under a display, or xvfb-run -a -s "-screen 0 1280x800x24")

From an image file that is dropped onto napari to labels and a model in files. After each step it looks whether what the page
says is so, and stops with a sentence where it is not. Where to paint it reads off the truth of the sample image.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":  # before napari is imported: the user's settings and journals are not touched
    OWN = tempfile.mkdtemp(prefix="limn-tutorial-")
    os.environ |= {"NAPARI_CONFIG": f"{OWN}/settings.yaml", "XDG_DATA_HOME": OWN, "LOCALAPPDATA": OWN}

import napari
import numpy as np
from PIL import Image as Picture
from PIL import ImageDraw
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QDialogButtonBox, QLineEdit, QRadioButton, QWidget
from scipy import ndimage

from napari_limn import Model, samples
from napari_limn._napari.layers.facts import facts_of
from napari_limn._napari.painting.recorder import journals_of
from napari_limn._napari.panel.session import shared_models
from napari_limn.volume.boxes import whole
from napari_limn.volume.reading.open import open_volume

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from hand import LEFT, Hand  # noqa: E402 - what drives the window in its tests drives it here

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Labels
    from numpy.typing import NDArray

SIZE = (1280, 800)
LARGEST = 250_000  # bytes of a picture
COLORED = 40  # brightest less darkest channel of what is more than grey
RING = (255, 159, 28)  # around what is pressed
PLACE = (250, 330)  # row and column around which the strokes are painted
BRUSH = 3
STROKES = {1: 9, 2: 9, 3: 9}  # how many of each class
PLACES = 2  # where the model is unsure and strokes are painted
MOST = 200  # pixels of a region that is corrected by one click


class StepError(Exception):
    """What a step must have brought about did not come about."""


def check(holds: Any, what: str) -> None:
    """Stop where something does not hold that must."""
    if not holds:
        raise StepError(what)


class Tutorial:
    """The steps, in one window.

    Parameters
    ----------
    hand
        Drives the window.
    folder
        Where the image is put, and the results go.
    pictures
        Folder of the pictures.
    seconds
        Of training, each time.
    window
        Where to put one more picture, of strokes and labels; None for none.
    """

    def __init__(
        self, hand: Hand, folder: Path, pictures: Path, seconds: float, window: Path | None = None
    ) -> None:
        self.hand, self.viewer = hand, hand.viewer
        self.folder, self.pictures, self.seconds, self.window = folder, pictures, seconds, window
        self.image = Path(shutil.copy(samples.PAINTED.image, folder / "nerve.tif"))
        truth = open_volume(samples.PAINTED.truth)
        self.truth = truth.read(whole(truth.grid))[0, 0, 0]
        self.rng = np.random.default_rng(3)
        self.painted = np.zeros(self.truth.shape, bool)
        self.model: Model
        self.name = ""
        pictures.mkdir(parents=True, exist_ok=True)

    def run(self) -> list[str]:
        """All steps; returns their names."""
        for number, step in enumerate(STEPS, start=1):
            name = f"{number:02d}-{step.__name__.replace('_', '-')}"
            marks = step(self)
            self.take(name, marks)
        return [step.__name__ for step in STEPS]

    # ---- the steps -----------------------------------------------------------------------------------------------
    def open(self) -> Sequence[str]:
        """Open the dock, drop the image onto napari, choose Limn where it asks: the brush is in the hand."""

        def choose(dialog: QWidget) -> None:
            button = next(b for b in dialog.findChildren(QRadioButton) if b.text() == "Limn")
            QTest.mouseClick(button, LEFT, pos=QPoint(8, button.height() // 2))
            check(button.isChecked(), "Limn can be chosen to read the image")
            self.take("01-choose-limn", [], dialog)
            QTest.mouseClick(dialog.findChild(QDialogButtonBox).buttons()[0], LEFT)

        self.hand.menu("Plugins", "Limn", "Limn")
        self.hand.in_dialog(choose, lambda: self.hand.drop(self.image))
        listed = [layer.name for layer in self.viewer.layers]
        check(listed == ["nerve", "nerve strokes"], "the image is a layer, and has one for strokes")
        image, strokes = self.viewer.layers["nerve"], self.strokes_layer
        check(not isinstance(image.data, np.ndarray), "the image is opened without being read into memory")
        check(np.allclose(image.scale, 0.1) and str(image.units[0]) == "micrometer", "pixels have their size")
        check(
            strokes.data.shape == image.data.shape and not strokes.data.any(),
            "the layer is empty and fits the image",
        )
        check(np.allclose(strokes.scale, image.scale), "the layer lies where the image lies")
        check(self.viewer.layers.selection.active is strokes, "the layer for strokes is chosen")
        check(str(strokes.mode) == "paint", "the brush is in the hand")
        return ["limn-image", "limn-step-paint"]

    def classes(self) -> Sequence[str]:
        """Add a class, and name them."""
        table = self.hand.find("limn-classes-table")
        self.hand.press("limn-classes-add")
        check(table.rowCount() == 4, "there are three classes, and “not labelled”")
        for row, name in samples.NAMES.items():
            place = table.visualItemRect(table.item(row, 2)).center()
            QTest.mouseClick(table.viewport(), LEFT, pos=place)
            QTest.mouseDClick(table.viewport(), LEFT, pos=place)
            self.hand.pump(0.1)
            field = table.findChild(QLineEdit)
            check(field is not None, "a name can be written after a double click")
            QTest.keyClicks(field, name)
            QTest.keyClick(field, Qt.Key.Key_Return)
            self.hand.pump(0.1)
        named = facts_of(self.strokes_layer).class_names
        check(named == samples.NAMES, f"the classes are called {samples.NAMES}, found {named}")
        return ["limn-classes-table", "limn-classes-add"]

    def paint(self) -> Sequence[str]:
        """Zoom in, take a thin brush, choose each class by its key, and paint."""
        layer = self.strokes_layer
        self.hand.wheel(4, *PLACE)
        while layer.brush_size > BRUSH:
            self.hand.key(Qt.Key.Key_BracketLeft)
        inside = self.in_sight()
        for value, count in STROKES.items():
            self.hand.key(str(value))
            check(layer.selected_label == value, f"the key {value} chooses class {value}")
            for _ in range(count):
                self.hand.stroke(self.path(value, inside))
        share = float((np.asarray(layer.data) > 0).mean())
        check(set(np.unique(layer.data)) == {0, 1, 2, 3}, "all three classes are painted")
        check(share < 0.02, f"little is painted, found {share:.2%}")
        right = np.asarray(layer.data)[layer.data > 0] == self.truth[layer.data > 0]
        check(right.mean() > 0.8, "the strokes lie where they should")
        self.hand.wait(lambda: self.recording.safe, 10)
        check(
            self.recording.strokes == sum(STROKES.values()), "every stroke is in the journal beside the image"
        )
        check(self.image.with_name("nerve.tif.strokes.jsonl").exists(), "the journal is there")
        return ["limn-classes-table"]

    def answer(self) -> Sequence[str]:
        """Do nothing: the second class has begun live mode, and its answer is there."""
        check(self.hand.find("limn-train-live").isChecked(), "live mode is on")
        self.hand.wait(lambda: self.live is not None and (np.asarray(self.live.data) > 0).all(), 120)
        self.hand.wait(lambda: set(np.unique(self.live.data)) == {1, 2, 3}, 120)
        check(self.viewer.layers.selection.active is self.strokes_layer, "one can go on painting")
        check(float(self.live.get_color(1)[3]) == 0, "one sees through the background")
        self.viewer.reset_view()
        self.hand.wheel(2, *PLACE)
        self.hand.pump(1)
        return ["limn-train-live", "limn-train-status"]

    def train(self) -> Sequence[str]:
        """Unfold Learn; there is no problem; press Train, which ends live mode."""
        self.hand.press("limn-step-learn")
        panel = self.panel("train")
        self.hand.pump(1.5)  # it looks at image and strokes
        check(not [f for f in panel.findings.shown if f.stops], "nothing stands against training")
        check(
            self.chosen("train", "image", "labels") == ["nerve", "nerve strokes"],
            "image and strokes are chosen",
        )
        self.hand.write("limn-train-seconds", f"{self.seconds:g}")
        self.hand.press("limn-train-start")
        self.hand.wait(lambda: not panel.controller.live, 60)
        check(panel.job is not None, "the training runs")
        check(not self.hand.find("limn-train-live").isChecked(), "live mode has given way")
        return ["limn-train-start"]

    def watch(self) -> Sequence[str]:
        """Look at the score on held-out strokes until the time is over."""
        panel = self.panel("train")
        self.hand.wait_idle(panel, self.seconds + 180)
        said = self.hand.find("limn-train-status").text()
        check(said.startswith("Done") and "score" in said, f"the score is shown, found “{said}”")
        check(panel.curve.scores, "the score is drawn")
        self.model, self.name = panel.model, panel.name
        check(
            self.model.spec.classes.names == tuple(samples.NAMES.values()),
            "the model knows the classes by name",
        )
        return ["limn-train-curve", "limn-train-status"]

    def predict(self) -> Sequence[str]:
        """Unfold Apply and press Predict: every pixel has a label, in the colours of the strokes."""
        self.hand.press("limn-step-apply")
        labels = self.predicted()
        check(self.viewer.layers.selection.active is self.strokes_layer, "one can go on painting at once")
        listed = [layer.name for layer in self.viewer.layers]
        check(
            listed == ["nerve", "nerve labels", "nerve strokes"], "the labels lie between image and strokes"
        )
        check(set(np.unique(labels.data)) <= {1, 2, 3}, "every pixel has a label")
        check(
            np.allclose(labels.get_color(2), self.strokes_layer.get_color(2), atol=0.01),
            "colours are those of the strokes",
        )
        check("axon" in str(labels.features["class"].tolist()), "labels have their names")
        check(self.agreement(labels.data) > 0.4, "labels are right far more often than by chance")
        if self.window is not None:
            self.take(self.window.stem, [], folder=self.window.parent)
        return ["limn-predict-start"]

    def correct(self) -> Sequence[str]:
        """Go where the model is unsure and paint what is wrong; click a wrong region to make it a stroke."""
        self.hand.press("limn-step-check")
        self.hand.press("limn-review-start")
        self.hand.wait_idle(self.panel("review"), 120)
        check("nerve uncertainty" in self.viewer.layers, "the map of doubts is there")
        strokes = self.strokes_layer
        before = int((strokes.data > 0).sum())
        for _ in range(PLACES):
            self.hand.press("limn-review-take")
            self.hand.pump(0.5)
            check(self.viewer.layers.selection.active is strokes, "the strokes can be painted on at once")
            check(self.viewer.layers["nerve labels"].contour > 0, "outlines let the image be seen")
            self.hand.wheel(-2, *self.middle())
            inside = self.in_sight()
            for value in np.unique(self.truth[inside]):
                self.hand.key(str(value))
                self.hand.stroke(self.path(int(value), inside))
        painted = int((strokes.data > 0).sum())
        check(painted > before, "there are more strokes now")
        self.take("08-where-next", ["limn-review-take"])
        self.hand.press("limn-review-back")
        self.viewer.layers["nerve uncertainty"].visible = False  # the eye in the layer list
        self.hand.press("limn-train-live")
        self.hand.wait_idle(self.panel("train"), 60)
        row, column, value = self.wrong_region()
        self.hand.press("limn-step-paint")
        self.hand.press("limn-classes-correct")
        self.hand.key(str(value))
        self.hand.click(row, column)
        said = self.hand.find("limn-classes-corrected").text()
        check(f"“{samples.NAMES[value]}” now" in said, f"the click made a stroke, found “{said}”")
        check(int((strokes.data > 0).sum()) > painted, "the region is a stroke")
        return ["limn-classes-correct"]

    def compare(self) -> Sequence[str]:
        """Keep this prediction, train further, predict again, and look at both side by side."""
        self.hand.press("limn-classes-correct")
        self.hand.press("limn-step-check")
        self.hand.press("limn-step-compare")
        self.hand.press("limn-compare-keep-second")
        kept = self.viewer.layers[f"nerve labels ({self.name})"]
        before = np.array(kept.data)
        panel = self.panel("train")
        self.hand.press("limn-step-learn")
        check(self.chosen("train", "from") == [self.name], "the training is going to go on from the model")
        self.hand.press("limn-train-start")
        self.hand.pump(0.2)
        self.hand.wait_idle(panel, self.seconds + 180)
        check(
            panel.name != self.name and panel.model.spec.steps >= self.model.spec.steps,
            "the model was trained further",
        )
        self.model, self.name = panel.model, panel.name
        self.hand.press("limn-step-apply")
        labels = self.predicted()
        check(np.array_equal(kept.data, before), "the kept prediction is as it was")
        check(not np.array_equal(labels.data, before), "the new prediction is another one")
        print(
            f"{self.agreement(before):.1%} of the labels were right, {self.agreement(labels.data):.1%} are now"
        )
        self.hand.press("limn-step-check")
        self.viewer.reset_view()
        self.hand.wheel(3, *PLACE)
        self.hand.press("limn-compare-show-beside")
        self.hand.wait(lambda: "differ" in self.hand.find("limn-compare-status").text(), 10)
        check(self.viewer.canvas.grid.enabled, "both lie side by side")
        return ["limn-compare-show-beside", "limn-compare-status"]

    def save(self) -> Sequence[str]:
        """Write the labels of the whole image into a file, and the model into another."""
        self.hand.press("limn-compare-show-second")
        check(not self.viewer.canvas.grid.enabled, "one view again")
        self.hand.press("limn-step-learn")
        model, labels = self.folder / "nerve.limn", self.folder / "nerve_labels.ome.tif"

        def name_it(dialog: QWidget) -> None:
            field = dialog.findChild(QLineEdit, "fileNameEdit")
            field.selectAll()
            QTest.keyClicks(field, str(model))
            QTest.keyClick(field, Qt.Key.Key_Return)

        self.hand.in_dialog(name_it, lambda: self.hand.press("limn-train-save"))
        check(model.exists(), "the model is in its file")
        loaded = Model.load(model)
        check(loaded.digest == self.model.digest, "the file holds this model")
        self.hand.press("limn-step-apply")
        field = self.hand.find("limn-predict-out").findChild(QLineEdit)
        field.setFocus()
        QTest.keyClicks(field, str(labels))
        QTest.keyClick(field, Qt.Key.Key_Return)
        self.hand.press("limn-predict-start")
        self.hand.wait_idle(self.panel("predict"), 180)
        found = open_volume(labels)
        data = found.read(whole(found.grid))[0, 0, 0]
        check(
            data.shape == self.truth.shape and set(np.unique(data)) <= {1, 2, 3},
            "the file holds a label for every pixel",
        )
        check(found.names == samples.NAMES, "the file holds the names")
        check(self.agreement(data) > 0.4, "labels in the file are right far more often than by chance")
        return ["limn-predict-out", "limn-predict-start"]

    # ---- what the steps share ------------------------------------------------------------------------------------
    @property
    def strokes_layer(self) -> Labels:
        return self.viewer.layers["nerve strokes"]

    @property
    def live(self) -> Any:
        """The answer of live mode, None if there is none."""
        return next((layer for layer in self.viewer.layers if facts_of(layer).kind == "live"), None)

    @property
    def recording(self) -> Any:
        return journals_of(self.panel("strokes"), self.viewer).of(self.strokes_layer).recording

    def panel(self, name: str) -> Any:
        """The widget with this name in its controls' names."""
        widget = self.hand.find(f"limn-{name}-start")
        while not hasattr(widget, "job"):
            widget = widget.parentWidget()
        return widget

    def chosen(self, panel: str, *names: str) -> list[str]:
        return [self.hand.find(f"limn-{panel}-{name}").currentText() for name in names]

    def predicted(self) -> Labels:
        """Press Predict with the newest model, and wait."""
        check(self.chosen("predict", "model", "image") == [self.name, "nerve"], "model and image are chosen")
        self.hand.press("limn-predict-start")
        panel = self.panel("predict")
        self.hand.pump(0.1)
        self.hand.wait_idle(panel, 180)
        said = self.hand.find("limn-predict-status").text()
        check(said.startswith("Done"), f"the prediction is done, found “{said}”")
        return self.viewer.layers["nerve labels"]

    def middle(self) -> tuple[float, float]:
        """Row and column in the middle of the canvas."""
        row, column = self.strokes_layer.world_to_data(self.viewer.scene.camera.center[-2:])
        return row, column

    def agreement(self, labels: Any) -> float:
        return float((np.asarray(labels) == self.truth).mean())

    def in_sight(self) -> NDArray[np.bool_]:
        """Pixels that are well inside the canvas."""
        low, high = self.strokes_layer.corner_pixels
        inside = np.zeros(self.truth.shape, bool)
        edge = (high - low) // 10
        inside[tuple(slice(max(0, a + e), b - e) for a, b, e in zip(low, high, edge, strict=True))] = True
        return inside

    def path(self, value: int, inside: NDArray[np.bool_], length: int = 9) -> list[tuple[float, float]]:
        """A stroke as a hand would paint it: along the middle of a region of a class, away from other strokes."""
        depth = ndimage.distance_transform_edt(self.truth == value)
        free = inside & ~self.painted
        weight = np.where(free, np.minimum(depth, 6), 0)
        places = np.argwhere(weight > self.rng.choice((0.3, 0.8)) * weight.max())  # in narrow ones, too
        at = places[self.rng.integers(len(places))].astype(float)
        heading = self.rng.uniform(0, 2 * np.pi)
        points = [at]
        for _ in range(length):
            turns = heading + np.linspace(-0.9, 0.9, 13)
            ahead = at + 3 * np.stack([np.sin(turns), np.cos(turns)], axis=1)
            deep = ndimage.map_coordinates(depth, ahead.T, order=1) - 0.3 * np.abs(turns - heading)
            best = int(np.argmax(deep))
            if (
                deep[best] < 1
                or not inside[tuple(np.round(ahead[best]).astype(int).clip(0, np.subtract(inside.shape, 1)))]
            ):
                break
            at, heading = ahead[best], turns[best]
            points.append(at)
        rows, columns = np.round(points).astype(int).T
        own = np.zeros_like(self.painted)
        own[rows, columns] = True
        self.painted |= ndimage.binary_dilation(own, iterations=8)
        return [(float(row), float(column)) for row, column in points]

    def wrong_region(self) -> tuple[int, int, int]:
        """A place in a region whose label is wrong, brought into sight, and the class that it is."""
        labels = np.asarray((self.live or self.viewer.layers["nerve labels"]).data)
        found: list[tuple[float, int, int, int]] = []
        for value in np.unique(labels):
            regions, _ = ndimage.label(labels == value)
            for number, box in enumerate(ndimage.find_objects(regions), start=1):
                own = regions[box] == number
                shares = np.bincount(self.truth[box][own], minlength=4) / own.sum()
                right = int(np.argmax(shares))
                if own.sum() <= MOST and right != value:
                    depth = ndimage.distance_transform_edt(np.pad(own, 1))[1:-1, 1:-1]
                    row, column = np.unravel_index(np.argmax(depth), own.shape)
                    place = int(row + box[0].start), int(column + box[1].start)
                    found.append((float(shares[right] ** 4 * own.sum()), *place, right))
        check(found, "there is a region to correct")
        _, row, column, right = max(found)
        self.viewer.reset_view()
        self.hand.wheel(8, row, column)
        return row, column, right

    # ---- pictures ------------------------------------------------------------------------------------------------
    def take(
        self, name: str, marks: Sequence[str], dialog: QWidget | None = None, folder: Path | None = None
    ) -> None:
        """Write a picture of the window, with rings around controls, and a dialog that lies over it."""
        self.hand.pump(0.3)
        shot = Picture.fromarray(self.viewer.screenshot(canvas_only=False, flash=False)).convert("RGB")
        if dialog is not None:
            shot.paste(grabbed(dialog), corner(dialog, self.hand.main))
        draw = ImageDraw.Draw(shot)
        for mark in marks:
            widget = self.hand.find(mark)
            if not widget.visibleRegion().isEmpty():
                x, y = corner(widget, self.hand.main)
                box = (x - 4, y - 4, x + widget.width() + 3, y + widget.height() + 3)
                draw.rounded_rectangle(box, radius=6, outline=RING, width=3)
        write(shot, (folder or self.pictures) / f"{name}.png")


STEPS = (
    Tutorial.open,
    Tutorial.classes,
    Tutorial.paint,
    Tutorial.answer,
    Tutorial.train,
    Tutorial.watch,
    Tutorial.predict,
    Tutorial.correct,
    Tutorial.compare,
    Tutorial.save,
)


def corner(widget: QWidget, window: QWidget) -> tuple[int, int]:
    """Where a widget lies in a picture of the window."""
    at = widget.mapToGlobal(QPoint(0, 0)) - window.mapToGlobal(QPoint(0, 0))
    return at.x(), at.y()


def grabbed(widget: QWidget) -> Picture.Image:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/shot.png"
        widget.grab().save(path)
        return Picture.open(path).convert("RGB")


def write(picture: Picture.Image, path: Path) -> None:
    """Write a picture with as many greys as it may have to be small, and with its colours as they are."""
    pixels = np.asarray(picture)
    colored = np.ptp(pixels.astype(int), axis=-1) > COLORED
    for greys in (64, 48, 32, 24, 16, 12, 8):
        palette = [*of(pixels[colored], 192 if greys > 16 else 64), *of(pixels[~colored], greys)]
        look = Picture.new("P", (1, 1))
        look.putpalette(np.array(palette, np.uint8).ravel().tolist())
        picture.quantize(palette=look, dither=Picture.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= LARGEST:
            return


def of(pixels: NDArray[np.uint8], most: int) -> list[list[int]]:
    """The colours that stand best for some pixels (N, 3)."""
    if not len(pixels):
        return []
    found = Picture.fromarray(pixels[None]).quantize(most, method=Picture.Quantize.MAXCOVERAGE).getpalette()
    return np.reshape(found, (-1, 3)).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "tutorial", help="folder of the pictures")
    parser.add_argument("--seconds", type=float, default=60, help="of training, each time")
    args = parser.parse_args()
    window = args.out.parent / "window.png"
    hand = Hand(napari.Viewer(), SIZE)
    for name in Tutorial(hand, Path(OWN), args.out, args.seconds, window).run():
        print(f"done: {name}")
    hand.viewer.close()
    shared_models().clear()
    shutil.rmtree(OWN)


if __name__ == "__main__":
    main()
