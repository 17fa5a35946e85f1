"""What the check-up found, in rows with a button for what mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_limn._napari.layers.layers import image_volume, placement
from napari_limn._napari.painting.recorder import new_strokes
from napari_limn._napari.panel.job import Job
from napari_limn.annotation.checkup import check_fit, checkup
from napari_limn.annotation.findings import Found
from napari_limn.runs import Event, Working

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer

    from napari_limn._napari.training.train import TrainWidget
    from napari_limn.annotation.findings import Finding, Remedy
    from napari_limn.model import Model
    from napari_limn.specs import DeviceName
    from napari_limn.training.spec import TrainSpec
    from napari_limn.volume.volume import Volume

_MOMENT = 400  # milliseconds


class Findings(QWidget):
    """A row for each finding: its sentence, and a button for each remedy.

    Parameters
    ----------
    prefix
        The widget is named ``<prefix>-findings``, its buttons ``<prefix>-remedy``.
    mend
        Called with the remedy whose button is pressed.
    """

    def __init__(self, prefix: str, mend: Callable[[Remedy], object]) -> None:
        super().__init__()
        self.setObjectName(f"{prefix}-findings")
        self._prefix, self._mend = prefix, mend
        self._rows: dict[Finding, QWidget] = {}
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)

    @property
    def shown(self) -> tuple[Finding, ...]:
        """What is listed."""
        return tuple(self._rows)

    def stops(self, sentence: str) -> bool:
        """Whether a sentence is that of a listed finding that stops training."""
        return any(finding.stops and finding.sentence == sentence for finding in self._rows)

    def show_all(self, findings: list[Finding]) -> None:
        """List these and no others."""
        for finding in set(self._rows) - set(findings):
            self._remove(finding)
        for finding in findings:
            self.add(finding)

    def add(self, finding: Finding) -> None:
        """List one more, unless it is there already."""
        if finding not in self._rows:
            row = self._rows[finding] = self._row(finding)
            self._column.insertWidget(0 if finding.stops else self._column.count(), row)

    def _row(self, finding: Finding) -> QWidget:
        row = QWidget()
        column = QVBoxLayout(row)
        column.setContentsMargins(0, 2, 0, 2)
        sentence = QLabel(f"{'✖' if finding.stops else '•'} {finding.sentence}")
        sentence.setWordWrap(True)
        sentence.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        column.addWidget(sentence)
        line = QHBoxLayout()
        for remedy in finding.remedies:
            button = QPushButton(caption(remedy))
            button.setObjectName(f"{self._prefix}-remedy")
            button.setAutoDefault(True)
            button.clicked.connect(lambda _=False, r=remedy, f=finding: self._pressed(f, r))
            line.addWidget(button)
        column.addLayout(line)
        return row

    def _pressed(self, finding: Finding, remedy: Remedy) -> None:
        self._remove(finding)
        self._mend(remedy)

    def _remove(self, finding: Finding) -> None:
        row = self._rows.pop(finding, None)
        if row is not None:
            self._column.removeWidget(row)
            row.hide()
            row.deleteLater()


def caption(remedy: Remedy) -> str:
    """What stands on the button of a remedy."""
    return {
        "select": f"Paint class {remedy.value}",
        "go": "Go to another slice",
        "zero": "0 is background",
        "objects": "They are numbered objects",
        "dims": f"Train a {remedy.value}D network",
        "place": "Copy the image's scale",
        "layer": "New layer that fits",
        "axes": "They are channels" if "C" in (remedy.axes or "") else "The first axis is time",
    }[remedy.action]


# ---- looking ---------------------------------------------------------------------------------------------------------
def looked_at(image: Volume, labels: Volume | None, dims: int) -> Generator[Event, None, list[Finding]]:
    """What is to be said of image and labels, whatever is painted; a run for the thread of jobs."""
    yield Working()
    return check_fit(image, labels, dims=dims, shown=True)


class Look(QObject):
    """Looks at the layers of a panel in a thread, a moment after they were changed, unless a run is under way.

    Parameters
    ----------
    panel
        Whose layers are looked at.
    tell
        Called in the window's thread with what was found.
    """

    def __init__(self, panel: TrainWidget, tell: Callable[[list[Finding]], object]) -> None:
        super().__init__(panel)  # what a thread finds after the panel is gone is told to nobody
        self._panel, self._tell = panel, tell
        self._job: Job | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_MOMENT)
        self._timer.timeout.connect(self._begin)

    def soon(self) -> None:
        """Look in a moment."""
        self._timer.start()

    def _begin(self) -> None:
        if self._panel.job is not None or self._job is not None:
            self.soon()  # afterwards
        elif self._panel.isVisible() and (events := self._panel.in_sight()) is not None:
            job = self._job = Job(events)
            job.returned.connect(self._returned)
            job.errored.connect(lambda _: None)  # a layer that cannot be read is named when it is trained on
            job.finished.connect(self._finished)
            self._panel.destroyed.connect(job.quit)
            job.start()

    def _returned(self, found: list[Finding] | None) -> None:
        if found is not None:
            self._tell(found)

    def _finished(self) -> None:
        self._job = None


def diagnosing(device: DeviceName) -> Generator[Event, None, str]:
    """What ``napari-limn diagnose`` says, as a run."""
    from napari_limn.report.diagnose import diagnose

    yield Working()
    return str(diagnose(device))


def stopping(
    image: Volume, labels: Volume, spec: TrainSpec, model: Model | None = None
) -> Generator[Event, None, None]:
    """Tell what stops a training, of a model further or anew, in the words of the error, with what mends it."""
    known, dims = (model.spec.classes.values, model.spec.network.ndim) if model else ((), spec.dims)
    found = checkup(image, labels, zero=spec.zero, dims=dims, objects=spec.objects, known=known, shown=True)
    yield from (Found.of(finding) for finding in found if finding.stops)


# ---- mending ---------------------------------------------------------------------------------------------------------
def mend_layers(
    remedy: Remedy, viewer: ViewerModel, image: Image, labels: Labels | None
) -> list[Labels] | list[Image]:
    """Do what a remedy says to the layers; returns new ones to go on with: one to paint on, or an image and its further channels."""
    if remedy.action == "layer":
        return [_new_labels(viewer, image)]
    if remedy.action == "axes" and "C" in (remedy.axes or ""):
        return _split(viewer, image, remedy.axes or "")
    if remedy.action == "axes" and remedy.axes is not None:
        _name_axes((image, labels), remedy.axes)
    if remedy.action == "go" and remedy.place is not None:
        _go(viewer, image, remedy.place)
    if labels is not None and remedy.action == "select" and remedy.value is not None:
        viewer.layers.selection.active = labels
        labels.selected_label, labels.mode = remedy.value, "paint"
    if labels is not None and remedy.action == "place":
        for name, value in placement(image, image_volume([image])).items():
            setattr(labels, name, value)
    return []


def _new_labels(viewer: ViewerModel, image: Image) -> Labels:
    """An empty layer to paint on, as large as the image and in its place; a window's journals see whose it is."""
    layer = new_strokes(image)
    viewer.add_layer(layer)
    layer.mode = "paint"
    return layer


def _go(viewer: ViewerModel, image: Image, place: tuple[int, int, int, int]) -> None:
    """Show the slice of a place on the TZYX grid."""
    names = image_volume([image]).axes.names
    at = dict(zip("TZ", place, strict=False))
    first = viewer.dims.ndim - image.ndim
    for axis, name in enumerate(names):
        if name in at:
            viewer.dims.set_point(first + axis, at[name] * image.scale[axis] + image.translate[axis])


def _name_axes(layers: Iterable[Layer | None], axes: str) -> None:
    for layer in layers:
        if layer is not None and layer.ndim == len(axes):
            layer.axis_labels = tuple(axes.lower())


def _split(viewer: ViewerModel, image: Image, axes: str) -> list[Image]:
    """Make a layer of each channel, in the place of the image, which is hidden."""
    _name_axes([image], axes)
    at = axes.index("C")
    channels: list[Image] = viewer.add_image(
        image.data, channel_axis=at, name=[f"{image.name} [{c}]" for c in range(image.data.shape[at])],
        multiscale=image.multiscale, **placement(image, image_volume([image])),
    )  # fmt: skip
    image.visible = False
    return channels
