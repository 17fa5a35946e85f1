"""What the check-up found, in rows with a button for each remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_limn._napari.layers.plain_text import PlainLabel, set_tip
from napari_limn._napari.panel.job import Job
from napari_limn._napari.training.remedies import caption
from napari_limn._napari.training.run import axis_by_axis
from napari_limn.annotation.image_checks import check_pair, check_place
from napari_limn.runs import Event, Working

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_limn.annotation.findings import Finding, Remedy
    from napari_limn.volume.volume import Volume

_MOMENT = 400  # milliseconds


class Findings(QWidget):
    """Show a row for each finding.

    It has its sentence, and a button for each remedy.

    Parameters
    ----------
    prefix
        The widget is named ``<prefix>-findings``, its buttons ``<prefix>-remedy``.
    fix
        Called with the remedy whose button is pressed.
    """

    def __init__(self, prefix: str, fix: Callable[[Remedy], object]) -> None:
        super().__init__()
        self.setObjectName(f"{prefix}-findings")
        self._prefix, self._fix = prefix, fix
        self._rows: dict[Finding, QWidget] = {}
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)

    @property
    def shown(self) -> tuple[Finding, ...]:
        """Return what is listed."""
        return tuple(self._rows)

    def stops(self, sentence: str) -> bool:
        """Return whether a listed finding with this sentence stops training."""
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
        sentence = PlainLabel(f"{'✖' if finding.stops else '•'} {finding.sentence}")
        sentence.setWordWrap(True)
        column.addWidget(sentence)
        line = QHBoxLayout()
        for remedy in finding.remedies:
            button = QPushButton(caption(remedy))
            button.setObjectName(f"{self._prefix}-remedy")
            button.setAutoDefault(True)
            set_tip(button, "Do this, and take the sentence above away")
            button.clicked.connect(lambda _=False, r=remedy, f=finding: self._pressed(f, r))
            line.addWidget(button)
        column.addLayout(line)
        return row

    def _pressed(self, finding: Finding, remedy: Remedy) -> None:
        self._remove(finding)
        self._fix(remedy)

    def _remove(self, finding: Finding) -> None:
        row = self._rows.pop(finding, None)
        if row is not None:
            self._column.removeWidget(row)
            row.hide()
            row.deleteLater()


# ---- checking --------------------------------------------------------------------------------------------------------
def layer_check(image: Volume, labels: Volume | None, dims: int) -> Generator[Event, None, list[Finding]]:
    """Check image and labels, whatever is painted.

    A run for the thread of jobs.
    """
    yield Working()
    return check_pair(image, labels and (axis_by_axis(image, labels) or labels), dims=dims, shown=True)


def place_check(image: Volume, labels: Volume) -> list[Finding]:
    """Check where labels of the same extent lie; nothing is read."""
    matched = axis_by_axis(image, labels) or labels
    return check_place(image, matched, shown=True) if matched.grid == image.grid else []


class LayerCheck(QObject):
    """Check the layers of a panel, a moment after they changed.

    In a thread, and only while no run is under way.

    Parameters
    ----------
    panel
        Checked only while it is visible; the check ends with it.
    busy
        Returns whether a run is under way in the panel.
    events
        Returns a run that returns findings; None if there is nothing to check.
    show
        Called in the window's thread with the findings.
    """

    def __init__(
        self,
        panel: QWidget,
        busy: Callable[[], bool],
        events: Callable[[], Generator[Event, None, list[Finding]] | None],
        show: Callable[[list[Finding]], object],
    ) -> None:
        super().__init__(panel)  # what a thread finds out after the panel is gone is shown nowhere
        self._panel, self._busy, self._events, self._show = panel, busy, events, show
        self._job: Job | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_MOMENT)
        self._timer.timeout.connect(self._begin)

    def soon(self) -> None:
        """Check in a moment."""
        self._timer.start()

    def _begin(self) -> None:
        if self._busy() or self._job is not None:
            self.soon()  # afterwards
        elif self._panel.isVisible() and (events := self._events()) is not None:
            job = self._job = Job(events)
            job.returned.connect(self._returned)
            job.errored.connect(lambda _: None)  # a layer that cannot be read is named when it is trained on
            job.finished.connect(self._finished)
            self._panel.destroyed.connect(job.quit)
            job.start()

    def _returned(self, findings: list[Finding] | None) -> None:
        if findings is not None:
            self._show(findings)

    def _finished(self) -> None:
        self._job = None
