"""What the Train and Predict widgets share: rows of a form, and one run at a time with progress and a stop button."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from magicgui.widgets import ComboBox, Select, create_widget
from napari.layers import Image
from napari.utils.notifications import show_error
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_limn._napari.layers.layers import MADE_BY, being_renamed
from napari_limn._napari.panel.docking import DockPlace, is_closed, window_of
from napari_limn._napari.panel.job import Job
from napari_limn._napari.panel.keyboard import operable, skipping
from napari_limn._napari.panel.models import SHELF
from napari_limn._napari.panel.preferences import preferred
from napari_limn._napari.panel.status import Message, RunState
from napari_limn.annotation.findings import Found
from napari_limn.errors import LimnError
from napari_limn.runs import Event, Noted, Warned
from napari_limn.training.presets import pixel_features, preset_network

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from magicgui.widgets import FileEdit
    from magicgui.widgets.bases import ValueWidget
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_limn.runs import BlockDone
    from napari_limn.specs import DeviceName

# milliseconds for the window to show what was pressed, and a new layer, before a run wants to compute
_SHOWN_FIRST = 30
_SAY = 0.25  # seconds between two lines about blocks that came in
_WIDTH, _HEIGHT = 300, 260  # pixels at least, so that two panels below each other show their buttons


class Panel(QWidget):
    """A form over a run: fields on top, then start and stop, progress, one line of status.

    Parameters
    ----------
    viewer
        Whose layers are offered.
    prefix
        Object names begin with it: ``<prefix>-start``, ``<prefix>-status``, ….
    verb
        Text of the start button, ``<prefix>-start``.
    stop
        Text of the stop button, and in small letters the end of its name.
    """

    def __init__(self, viewer: ViewerModel, prefix: str, verb: str, stop: str) -> None:
        super().__init__()
        self.viewer, self._prefix = viewer, prefix
        self._place = DockPlace(self, viewer, "paint" if prefix == "limn-strokes" else "run")
        self.job: Job | None = None
        self._fields: list[ValueWidget[Any] | FileEdit] = []
        self._models: Any = None  # the field to choose a model in, of those that have one
        self._said, self._said_at, self._failed = "", 0.0, False
        self._notes: list[str] = []
        self._take: Callable[[Any], object] | None = None  # what the run returns
        self.form, self.more = _form(), _form()
        self.start_button, self.stop_button = (
            self._button(verb, "start", self.start),
            self._button(stop, stop.lower(), self.stop),
        )
        self.stop_button.setEnabled(False)
        self.starters = [self.start_button]  # of a run; off while one is under way
        self.progress = QProgressBar()
        self.progress.setObjectName(f"{prefix}-progress")
        self.progress.setRange(0, 1000)
        self._share = 0.0  # of the run that is done
        self.device: DeviceName = preferred("device", "auto")
        self.state = RunState(prefix, self.device)
        self.state.ticked.connect(self.draw)
        self.status = self.sentence("status")
        self.message = Message(self.status, prefix)

    # ---- building ------------------------------------------------------------------------------------------------
    def lay_out(self, *below: QWidget) -> None:
        """Put everything in its place; call once, when the fields are there."""
        inner, column = QWidget(), QVBoxLayout()
        column.addLayout(self.form)
        advanced, held = QCollapsible("More"), QWidget()
        held.setLayout(self.more)
        advanced.addWidget(held)
        column.addWidget(advanced)
        advanced.setVisible(self.more.rowCount() > 0)
        buttons = QHBoxLayout()
        buttons.addWidget(self.start_button)
        buttons.addWidget(self.stop_button)
        column.addLayout(buttons)
        for widget in (self.progress, self.state, self.message, *below):
            column.addWidget(widget, int(widget is self.message))
        column.addStretch()
        inner.setLayout(column)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setSizeAdjustPolicy(QScrollArea.SizeAdjustPolicy.AdjustToContents)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setWidget(inner)
        self.setMinimumSize(_WIDTH, _HEIGHT)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(area)
        operable(self)
        visit = skipping(held)
        visit(False)
        advanced.toggled.connect(visit)
        self.reset_choices()

    def field(
        self, label: str, name: str, widget: ValueWidget[Any] | FileEdit, tip: str, *, more: bool = False
    ) -> Any:
        """Add a row, under "More" if `more`; the native widget is named ``<prefix>-<name>``."""
        widget.native.setObjectName(f"{self._prefix}-{name}")
        widget.native.setToolTip(tip)
        widget.native.setMinimumWidth(80)
        widget.native.setSizePolicy(QSizePolicy.Policy.Ignored, widget.native.sizePolicy().verticalPolicy())
        (self.more if more else self.form).addRow(label, widget.native)
        self._fields.append(widget)
        return widget

    def layer_field(self, label: str, name: str, kind: type[Layer], tip: str) -> Any:
        """A choice among the layers of one kind, the topmost first."""
        return self.field(label, name, ComboBox(choices=lambda _: self.layers(kind)), tip)

    def model_field(self, label: str, name: str, choices: Callable[[], list[str]], tip: str) -> Any:
        """A choice among models; each new one of this window is chosen at once."""
        self._models = self.field(label, name, ComboBox(choices=lambda _: choices()), tip)
        SHELF.added.connect(self._on_model)
        return self._models

    def _on_model(self, name: str, window: QWidget | None) -> None:
        """Offer a new model, and choose it unless it came in another window: there, somebody works on something else."""
        self._models.reset_choices()
        if window is None or window_of(self) in (None, window):
            self._models.value = name

    def channels_field(self) -> Any:
        """A choice of further image layers."""
        choice = Select(choices=lambda _: self.layers(Image), allow_multiple=True)
        choice.native.setMaximumHeight(70)
        return self.field(
            "Channels",
            "channels",
            choice,
            "Further image layers to use as channels, besides the image above",
            more=True,
        )

    def value_field(
        self, label: str, name: str, value: Any, annotation: Any, tip: str, *, more: bool = False
    ) -> Any:
        """A field for a value of a spec; its default and its bounds come with the value and the annotation."""
        widget = cast("ValueWidget[Any]", create_widget(value=value, annotation=annotation))
        return self.field(label, name, widget, tip, more=more)

    def sentence(self, name: str) -> QLabel:
        """A place for a sentence, named ``<prefix>-<name>``; it can be copied."""
        label = QLabel("")
        label.setObjectName(f"{self._prefix}-{name}")
        label.setWordWrap(True)
        label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        return label

    def _button(self, text: str, name: str, act: Callable[[], object]) -> QPushButton:
        button = QPushButton(text)
        button.setObjectName(f"{self._prefix}-{name}")
        button.clicked.connect(lambda _=False: self.guarded(act))
        return button

    # ---- layers --------------------------------------------------------------------------------------------------
    def layers(self, kind: type[Layer]) -> list[Layer]:
        """Layers of a kind, the topmost first; what a person opened or painted before what was made here."""
        found = [layer for layer in reversed(self.viewer.layers) if type(layer) is kind]
        return sorted(found, key=lambda layer: MADE_BY in layer.metadata)

    def chosen_images(self, image: Any, channels: Any) -> list[Image]:
        """The image layer and the further channels, these in the order of the layer list.

        The fields do not say in which order: that of their rows depends on when each layer came and was renamed, and so may
        be another in each panel.
        """
        first, further = image.value, channels.value
        if first is None:
            raise LimnError("there is no image layer; drag an image onto the window first.")
        return [first, *(layer for layer in self.viewer.layers if layer in further and layer is not first)]

    def note_order(self, model: str, images: Sequence[Image]) -> None:
        """Warn where a model was trained on these images in another order; call it after :meth:`run`, which forgets what was noted before."""
        names = tuple(image.name for image in images)
        if (right := SHELF.in_order(model, names)) != names:
            self._notes.append(
                f"found the channels {', '.join(names)}, expected {', '.join(right)} as in training; choose “{right[0]}” as "
                "Image, and bring the others into that order in the layer list."
            )
            self.say(self._said)

    def reset_choices(self, event: Any = None) -> None:
        """Offer the layers that are there now; napari calls this when they change."""
        if being_renamed(self.viewer):
            return
        for widget in self._fields:
            if isinstance(widget, (ComboBox, Select)):
                _offer_anew(widget)

    def changeEvent(self, event: Any) -> None:
        """Leave nothing behind where the panel is closed."""
        super().changeEvent(event)
        if is_closed(self, event):
            self.closed()

    def closed(self) -> None:
        """End the run: there is no button left to stop it with."""
        self.stop()

    def showEvent(self, event: Any) -> None:
        """Offer the layers that came before the widget, and get PyTorch ready before it is needed."""
        super().showEvent(event)
        self._place.shown()
        self.reset_choices()
        threading.Thread(target=_warm_up, name="limn-warm-up").start()

    # ---- one run -------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start the run that the form describes; each widget has its own."""

    def heard(self, event: Event) -> None:
        """Show an event of the run."""

    def ended(self, result: Any) -> None:
        """Take what the run returned; None if it was stopped."""

    def advance(self, share: float) -> None:
        """Take note of how far the run is, 0–1; it is drawn with the next look at the clock."""
        self._share = share

    def block_done(self, block: BlockDone) -> None:
        """Take note of a block, and say so a few times a second."""
        self.advance(block.done / block.total)
        if time.monotonic() - self._said_at > _SAY:
            self._said_at = time.monotonic()
            self.say(f"Block {block.done} of {block.total}")

    def draw(self) -> None:
        """Draw how far the run is; by itself the bar would draw at once, and apart from everything else."""
        if (value := round(1000 * self._share)) != self.progress.value():
            self.progress.setUpdatesEnabled(False)
            self.progress.setValue(value)
            self.progress.setUpdatesEnabled(True)

    def run(self, events: Generator[Event, None, Any], ended: Callable[[Any], object] | None = None) -> None:
        """Run `events` in a thread; ``heard``, and ``ended`` or the one given, are called in the window's."""
        job = self.job = Job(events)
        self._take = ended or self.ended
        self._notes.clear()
        self.message.offer("")
        self._share = 0.0
        self.draw()
        self.state.begin()
        self._failed = False
        self._set_running(running=True)
        job.event.connect(self._on_event)
        job.returned.connect(self._on_returned)
        job.errored.connect(self._on_errored)
        job.finished.connect(self._on_finished)
        self.destroyed.connect(job.quit)
        QTimer.singleShot(_SHOWN_FIRST, job.start)

    def stop(self) -> None:
        """Stop the run at its next event."""
        if self.job is not None:
            self.job.quit()
            self.say("Stopping …")

    def guarded(self, act: Callable[[], object]) -> None:
        """Do something for the person; a mistake of theirs becomes one sentence."""
        try:
            act()
        except LimnError as error:
            self.failed(error)

    def failed(self, error: Exception) -> None:
        """Show an error: the sentence if it is the user's, the notification with its traceback otherwise."""
        self.message.offer_traceback(error)
        if isinstance(error, LimnError):
            self.say(str(error))
        else:
            self.say(f"Something went wrong inside Limn: {type(error).__name__}: {error}")
            show_error(f"{type(error).__name__}: {error}")

    def say(self, text: str) -> None:
        """Show one sentence, under it what the run warned of, and what it decided for the person."""
        self._said = text
        self.status.setText("\n".join([text, *self._notes]))

    def _on_event(self, event: Event) -> None:
        self.state.heard(event)
        if isinstance(event, (Warned, Noted)) and not isinstance(
            event, Found
        ):  # those have rows of their own
            self._notes.append(event.message)
            self.say(self._said)
        self.heard(event)

    def _on_errored(self, error: Exception) -> None:
        self._failed = True
        self.failed(error)

    def _on_returned(self, result: Any) -> None:
        take, self._take = self._take, None
        if take is not None:
            self.guarded(lambda: take(result))

    def _on_finished(self) -> None:
        stopped = self.job is not None and self.job.abort_requested
        self.job = None
        self.draw()
        self._set_running(running=False)
        self.state.end("Not done" if self._failed else "Stopped" if stopped else "Done")
        if stopped and not self._failed:
            self._on_returned(None)

    def _set_running(self, *, running: bool) -> None:
        """Light the buttons that can be pressed; one that goes out hands the keys on, or Qt would scroll to whatever comes next."""
        lit, out = [self.stop_button], self.starters
        if not running:
            lit, out = [*self.starters], [self.stop_button]
        for button in lit:
            button.setEnabled(True)
        if (window := self.window()) is not None and window.focusWidget() in out:
            lit[0].setFocus()
        for button in out:
            button.setEnabled(False)
        self.progress.setRange(0, 1000)


def _offer_anew(choice: ComboBox | Select) -> None:
    """Offer what there is now; what is chosen stays so while it is there, and `changed` is only told of another choice.

    By itself, magicgui forgets the choice of what was renamed. A layer that was made here, chosen while there was no other, gives
    way to one that a person opened or painted.
    """
    before, offered = choice.value, list(choice.choices)
    kept: Any
    with choice.changed.blocked():
        choice.reset_choices()
        if isinstance(choice, Select):
            kept = [one for one in before if one in choice.choices]
        else:
            kept = before if before in choice.choices else choice.value
            if all(map(_is_made, offered)):
                kept = next((one for one in choice.choices if not _is_made(one)), kept)
        if choice.value != kept:
            choice.value = kept
    if kept != before:
        choice.changed.emit(kept)


def _is_made(one: Any) -> bool:
    """Whether what a choice offers is a layer that was made here."""
    return MADE_BY in getattr(one, "metadata", ())


def _warm_up() -> None:
    """Import what a run needs; done later, it would hold up the window while the person works."""
    for name in ("training.live", "inference.pipeline", "inference.view", "interleave"):
        import_module(f"napari_limn.{name}")
    import_module("napari_limn.training.first_answer.fit").load()
    # the first network that is traced makes PyTorch look at each of its functions
    network = replace(preset_network("balanced", 2), pixels=pixel_features(2))
    import_module("napari_limn.network.graph").footprint(network)


def _form() -> QFormLayout:
    form = QFormLayout()
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return form
