"""Where a run stands: time, memory, device and a message.

Why: nothing here changes its height, whatever there is to say, so that no button moves away from under the mouse.
"""

from __future__ import annotations

import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

import psutil
from qtpy.QtCore import QEvent, QSize, Qt, QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QApplication, QPushButton, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from napari_limn._napari.layers.plain_text import PlainLabel, PlainLine, set_tip
from napari_limn.inference.events import Planned
from napari_limn.runs import BlockDone, Event
from napari_limn.training.events import Scored, Step

if TYPE_CHECKING:
    from napari_limn.specs import DeviceName

_TICK = 500  # milliseconds between two looks at clock and memory
_LINES = 8  # of a message that are seen at once
_FEWEST = 3  # of one that is as high as its text


class RunState(QWidget):
    """Show state, memory and device on three lines.

    The first says the time to go, the second also what the run may use.

    Parameters
    ----------
    prefix
        Object names begin with it: ``<prefix>-state``, ``<prefix>-memory``, ``<prefix>-device``.
    device
        Where runs compute.
    """

    ticked = Signal()
    """Emitted twice a second during a run, when clock and memory were looked at; what is drawn then is drawn in one go."""

    def __init__(self, prefix: str, device: DeviceName = "auto") -> None:
        super().__init__()
        self._device_name = device
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(1)
        self.state, self.memory, self.device = (
            self._line(f"{prefix}-{name}") for name in ("state", "memory", "device")
        )
        self._process = psutil.Process()
        self._timer = QTimer(self)
        self._timer.setInterval(_TICK)
        self._timer.timeout.connect(self.refresh)
        self._timer.timeout.connect(self.ticked)
        self._began = self._moved = 0.0
        self._first = self._share = self._most = 0.0
        self._score: float | None = None
        self._before = 0
        self._endless = False
        self.state.setText("Idle")

    def _line(self, name: str) -> PlainLine:
        label = PlainLine()
        label.setObjectName(name)
        label.setFixedHeight(label.fontMetrics().lineSpacing() + 6)
        label.setTextInteractionFlags(Qt.TextInteractionFlag.NoTextInteraction)
        column = self.layout()
        if column is not None:
            column.addWidget(label)
        return label

    def begin(self, *, endless: bool = False) -> None:
        """Begin with a run; an endless one has no time to go."""
        self._endless, self._score = endless, None
        self._began, self._moved, self._share, self._most = time.monotonic(), 0.0, 0.0, 0.0
        self._before = self._resident()
        self._timer.start()
        self.refresh()

    def on_event(self, event: Event) -> None:
        """Take note of what the run yields."""
        if not self.device.text() and "torch" in sys.modules:
            self._set(self.device, _device_line(self._device_name))
        match event:
            case Step(done=share):
                self._advance(share)
            case Scored(score=score):
                self._score = score
            case BlockDone(done=done, total=total):
                self._advance(done / total)
            case Planned(plan=plan):
                self._most = plan.peak_bytes

    def wait(self, before: int) -> None:
        """Say how many runs come before this one."""
        self._set(self.state, f"Waits for {before} other run{'' if before == 1 else 's'}")

    def end(self, how: str, *, began: bool = True) -> float:
        """Say how the run has ended, in a word or two.

        Returns the seconds that it took; none if it had not begun.
        """
        self._timer.stop()
        took = time.monotonic() - self._began if began else 0.0
        self._set(self.state, f"{how}, after {_clock(took)}" if began else f"{how} before it began")
        self._remember()
        return took

    def refresh(self) -> None:
        """Show clock and memory as they are now."""
        now = time.monotonic()
        text = f"{'Live' if self._endless else 'Running'} for {_clock(now - self._began)}"
        if self._score is not None:
            text += f", {self._score:.2f} on held-out strokes"
        if self._share > self._first and not self._endless:
            left = (now - self._moved) * (1 - self._share) / (self._share - self._first)
            text += f", about {_clock(left)} to go"
        self._set(self.state, text)
        self._remember()

    def _advance(self, share: float) -> None:
        if not self._moved:  # what came before was preparation
            self._moved, self._first = time.monotonic(), share
        self._share = share

    def _remember(self) -> None:
        used = self._resident()
        text = f"Memory {used / 1e9:.1f} GB"
        if self._most:
            grown = max(0, used - self._before) / 1e9
            text += f", this run {grown:.2f} of at most {self._most / 1e9:.2f} GB"
        self._set(self.memory, text + _card())

    def _resident(self) -> int:
        return int(self._process.memory_info().rss)

    @staticmethod
    def _set(label: PlainLine, text: str) -> None:
        if label.text() != text:  # each drawing is one of the whole window
            label.setText(text)
            set_tip(label, text)


def sentence_label(name: str) -> PlainLabel:
    """Make a place for a sentence, which can be copied."""
    label = PlainLabel()
    label.setObjectName(name)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


class Message(QScrollArea):
    """Show a sentence in the height that the panel leaves.

    Longer texts scroll.

    Below the sentence there is a button that copies details.

    Parameters
    ----------
    label
        The sentence.
    prefix
        The button is named ``<prefix>-details``.
    """

    def __init__(self, label: PlainLabel, prefix: str) -> None:
        super().__init__()
        self._details = ""
        inner = QWidget()
        self._column = QVBoxLayout(inner)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.addWidget(label)
        self.button = QPushButton("Copy details")
        self.button.setObjectName(f"{prefix}-details")
        self.button.setToolTip("Copy what happened, for a report")
        self.button.clicked.connect(self._copy)
        self.button.hide()
        self._column.addWidget(self.button)
        self._column.addStretch()
        self.setWidget(inner)
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._least = _LINES * label.fontMetrics().lineSpacing() + 8
        self.setMinimumHeight(self._least)
        self.setMaximumHeight(3 * self._least)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:
        """Return the same size whatever there is to say.

        What the panel has to spare comes on top.
        """
        return QSize(super().sizeHint().width(), self._least)

    def follow_text(self) -> None:
        """Be as high as what there is to say, within bounds."""
        if (inner := self.widget()) is not None:
            inner.installEventFilter(self)
        self._fit()

    def showEvent(self, event: Any) -> None:
        """Fit to what was said meanwhile."""
        super().showEvent(event)
        if self.minimumHeight() == self.maximumHeight():  # see `follow_text`
            self._fit()

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Fit the height to the text when it is laid out anew."""
        if event.type() in (QEvent.Type.LayoutRequest, QEvent.Type.Resize):
            self._fit()
        return bool(super().eventFilter(watched, event))

    def _fit(self) -> None:
        line, width = self._least // _LINES, max(1, self.width())
        wanted = self._column.totalHeightForWidth(width) if self._column.hasHeightForWidth() else 0
        height = min(max(_FEWEST * line, wanted + 2), 2 * self._least)
        if height != self.maximumHeight() or height != self.minimumHeight():
            self.setFixedHeight(height)

    def add(self, widget: QWidget) -> None:
        """Put something below the sentence."""
        self._column.insertWidget(self._column.count() - 1, widget)

    def offer(self, details: str) -> None:
        """Offer `details` to copy; nothing if they are empty."""
        self._details = details
        self.button.setText("Copy details")
        self.button.setVisible(bool(details))

    def offer_traceback(self, error: BaseException) -> None:
        """Offer where an error came from."""
        self.offer("".join(traceback.format_exception(error)))

    def _copy(self) -> None:
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(self._details)
            self.button.setText("Copied")


def _clock(seconds: float) -> str:
    """Return seconds as people say them.

    >>> _clock(7.4), _clock(75), _clock(3725)
    ('7 s', '1:15 min', '1:02 h')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    big, small, unit = (
        (whole // 3600, whole % 3600 // 60, "h") if whole >= 3600 else (whole // 60, whole % 60, "min")
    )
    return f"{big}:{small:02d} {unit}"


def _device_line(name: DeviceName) -> str:
    """Name the device that runs compute on; PyTorch is there already."""
    import torch

    from napari_limn.device import choose_device, device_title

    device = choose_device(name)
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    return device_title(device) + threads


def _card() -> str:
    """Name the memory used on a CUDA card, if any."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "cuda") or not torch.cuda.is_initialized():
        return ""
    return f", on the card {torch.cuda.memory_reserved() / 1e9:.1f} GB"
