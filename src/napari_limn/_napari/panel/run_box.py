"""The box around a run: buttons, progress, state, one sentence."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QProgressBar, QPushButton

from napari_limn._napari.layers.plain_text import notify, notify_error, notify_warning, set_tip
from napari_limn._napari.layers.words import in_window
from napari_limn._napari.panel.job import Activity, Job
from napari_limn._napari.panel.preferences import preferred
from napari_limn._napari.panel.session import RunQueue
from napari_limn._napari.panel.status import Message, RunState, sentence_label
from napari_limn.annotation.findings import Found
from napari_limn.errors import LimnError
from napari_limn.runs import Event, Noted, Warned

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from qtpy.QtWidgets import QWidget

    from napari_limn._napari.panel.run_view import RunHandler
    from napari_limn._napari.panel.session import Ticket
    from napari_limn.runs import BlockDone
    from napari_limn.specs import DeviceName

# milliseconds for the window to show what was pressed, and a new layer, before a run wants to compute
_SHOWN_FIRST = 30
_LONG = 3.0  # seconds of a run whose end is announced
_BAR = 8  # pixels of the height of the bar
_SAY = 0.25  # seconds between two lines about blocks that came in


class RunBox(QObject):
    """One run at a time, with its buttons, progress and status.

    Parameters
    ----------
    owner
        The widget that shows it.
    prefix
        Object names begin with it: ``<prefix>-start``, ``<prefix>-status``, ….
    verb
        Text of the start button, ``<prefix>-start``.
    stop
        Text of the stop button, and in small letters the end of its name.
    tip
        What the start button does.
    """

    spoke = Signal()
    """Emitted when a run begins or ends, and when there is something to say while none is under way."""

    handler: RunHandler
    """Decides what is run and what its events mean; set it before anything is pressed."""

    def __init__(self, owner: QWidget, prefix: str, verb: str, stop: str, tip: str) -> None:
        super().__init__(owner)
        self._prefix = prefix
        self._tips: dict[QPushButton, str] = {}
        self.job: Job | None = None
        self.on_finished: list[Callable[[], object]] = []
        """Called when a run is over, however it ended, and its result was handed on."""
        self._said, self._said_at, self._failed = "", 0.0, False
        self._endless = False  # whether the run under way gives way to another
        self._waits = False  # whether the run under way has not begun
        self._ticket: Ticket | None = None
        self.queue = RunQueue()
        """Where runs wait for each other; a window has one for its heavy runs."""
        self.activity = Activity()
        self.destroyed.connect(self.activity.end)
        self._then: Callable[[], object] | None = None  # what it gives way to
        self._notes: list[str] = []
        self._take: Callable[[Any], object] | None = None  # what the run returns
        self._needed: list[object] = []  # layers, by the run under way
        self._removed = ""  # the name of one of them that the user removed
        self.start_button, self.stop_button = (
            self.button(verb, "start", lambda: self.handler.start(), tip),
            self.button(stop, stop.lower(), self.stop, "End the run; what is done by now stays"),
        )
        self.stop_button.setEnabled(False)
        self.starters = [self.start_button]  # of a run; off while one is under way
        self.lacking: Callable[[], dict[QPushButton, str]] = dict
        """Says what a button lacks, which is off until that is there; empty if nothing."""
        self.progress = QProgressBar()
        self.progress.setObjectName(f"{prefix}-progress")
        self.progress.setRange(0, 1000)
        self.progress.setTextVisible(False)
        self.progress.setMaximumHeight(_BAR)
        set_tip(self.progress, "How far the run is")
        self._share = 0.0  # of the run that is done
        self.device: DeviceName = preferred("device", "auto")
        self.state = RunState(prefix, self.device)
        self.state.ticked.connect(self.draw)
        self.status = sentence_label(f"{prefix}-status")
        self.message = Message(self.status, prefix)

    def button(self, text: str, name: str, act: Callable[[], object], tip: str) -> QPushButton:
        """Make a button, named ``<prefix>-<name>``.

        A mistake that it leads to is shown here.
        """
        button = QPushButton(text)
        button.setObjectName(f"{self._prefix}-{name}")
        set_tip(button, tip)
        self._tips[button] = tip
        button.clicked.connect(lambda _=False: self._pressed(button, act))
        return button

    def _pressed(self, button: QPushButton, act: Callable[[], object]) -> None:
        """Do what a button does, after an endless run has ended."""
        if self.running and self._endless and button in self.starters:
            self._then = act
            self.stop()
        else:
            self.guarded(act)

    @property
    def running(self) -> bool:
        """Return whether a run is under way."""
        return self.job is not None

    @property
    def stopping(self) -> bool:
        """Return whether the run under way was asked to stop."""
        job = self.job  # another thread may ask while the run ends
        return job is not None and bool(job.abort_requested)

    # ---- the run -------------------------------------------------------------------------------------------------
    def run(
        self,
        events: Generator[Event, None, Any],
        on_result: Callable[[Any], object] | None = None,
        needs: Iterable[object] = (),
        *,
        endless: bool = False,
    ) -> None:
        """Run `events` in a thread.

        All that comes of them is handed on in the window's.
        """
        job = self.job = Job(events)
        self._endless, self._then, self._waits = endless, None, True
        self._needed, self._removed = list(needs), ""
        self._take = on_result or self.handler.on_result
        self._notes.clear()
        self.message.offer("")
        self._share = 0.0
        self.draw()
        self._failed = False
        self.spoke.emit()
        self._set_running(running=True)
        job.event.connect(self._on_event)
        job.returned.connect(self._on_returned)
        job.errored.connect(self._on_errored)
        job.finished.connect(self._on_finished)
        self.destroyed.connect(job.quit)
        if endless:
            self._start()
        else:
            self._ticket = self.queue.enter(self._start, self.state.wait)
            self.destroyed.connect(self._ticket.leave)

    def _start(self) -> None:
        """Start the run, now that it is its turn."""
        if self.job is None:
            return
        self._waits = False
        self.state.begin(endless=self._endless)
        if not self._endless:
            self.activity.begin(self.start_button.text())
        QTimer.singleShot(_SHOWN_FIRST, self.job.start)  # only when the window has shown that it does

    def stop(self) -> None:
        """Stop the run at its next event."""
        if self.job is None:
            return
        self.job.quit()
        if self._waits:
            self.job.close()
            self._on_finished()
        else:
            self.say("Stopping …")

    def need(self, layer: object) -> None:
        """Stop the run under way when this layer, too, is removed."""
        self._needed.append(layer)

    def on_removed(self, event: Any) -> None:
        """Stop a run that needs the layer that was removed."""
        layer = event.value
        if self.running and not self._removed and any(layer is needed for needed in self._needed):
            self._removed = layer.name
            self.stop()

    def guarded(self, act: Callable[[], object]) -> None:
        """Do what the user asked for; a mistake becomes one sentence."""
        try:
            act()
        except LimnError as error:
            self.handler.on_error(error)

    def _on_event(self, event: Event) -> None:
        self.state.on_event(event)
        if isinstance(event, (Warned, Noted)) and not isinstance(
            event, Found
        ):  # those have rows of their own
            self.note(event.message)
        self.handler.on_event(event)

    def _on_errored(self, error: Exception) -> None:
        self._failed = True
        self.handler.on_error(error)

    def _on_returned(self, result: Any) -> None:
        take, self._take = self._take, None
        if take is not None:
            self.guarded(lambda: take(result))

    def _on_finished(self) -> None:
        stopped, waited = self.stopping, self._waits
        self.job = None
        if self._ticket is not None:
            self._ticket.leave()
        self._ticket, self._waits = None, False
        self.draw()
        self.activity.end()
        self._set_running(running=False)
        took = self.state.end(
            "Not done" if self._failed else "Stopped" if stopped else "Done", began=not waited
        )
        if stopped and not self._failed:
            self._on_returned(None)
        for act in self.on_finished:
            act()
        if self._removed:
            self.note(f"The layer “{self._removed}” was removed, so the run was stopped.")
        self._needed.clear()
        if took > _LONG and not stopped and not self._endless:
            (notify_warning if self._failed else notify)(f"{self.start_button.text()}: {self._said}")
        then, self._then = self._then, None
        if then is not None and not self.running:
            self.guarded(then)

    def _set_running(self, *, running: bool) -> None:
        """Light the buttons that can be pressed.

        One that goes out hands the keys on, or Qt would scroll to whatever comes next.
        """
        window = self.start_button.window()
        focus = None if window is None else window.focusWidget()
        if running:
            self.stop_button.setEnabled(True)
            if focus in self.starters:
                self.stop_button.setFocus()
        self.light()
        if not running:
            if focus is self.stop_button and self.start_button.isEnabled():
                self.start_button.setFocus()
            self.stop_button.setEnabled(False)
        self.progress.setRange(0, 1000)

    def light(self) -> None:
        """Light the buttons that can be pressed; tooltips say why not."""
        lacking = self.lacking()
        for button in {*self.starters, *lacking}:
            why = lacking.get(button, "")
            occupied = self.running and not self._endless and button in self.starters
            button.setEnabled(not why and not occupied)
            set_tip(button, f"{why}\n{self._tips[button]}" if why else self._tips[button])

    # ---- what is shown -------------------------------------------------------------------------------------------
    def say(self, text: str) -> None:
        """Show one sentence, and below it the further ones.

        Those are what the run warned of, and what it decided for the user.
        """
        self._said = in_window(text)
        self.status.setText("\n".join([self._said, *self._notes]))
        if not self.running:
            self.spoke.emit()

    def note(self, text: str) -> None:
        """Show a further sentence below the one that is shown."""
        self._notes.append(in_window(text))
        self.say(self._said)

    def forget_notes(self) -> None:
        """Forget the further sentences."""
        self._notes.clear()

    def report(self, error: Exception) -> None:
        """Show an error.

        The sentence if it is the user's, the notification with its traceback otherwise.
        """
        self.message.offer_traceback(error)
        if isinstance(error, LimnError):
            self.say(str(error))
        else:
            self.say(f"Something went wrong inside Limn: {type(error).__name__}: {error}")
            notify_error(f"{type(error).__name__}: {error}")

    def offer(self, details: str) -> None:
        """Offer a text to copy; none if it is empty."""
        self.message.offer(details)

    def advance(self, share: float) -> None:
        """Take note of how far the run is, from 0 to 1.

        It is drawn with the next look at the clock.
        """
        self._share = share

    def block_done(self, block: BlockDone) -> None:
        """Take note of a block, and say so now and then."""
        self.advance(block.done / block.total)
        if time.monotonic() - self._said_at > _SAY:
            self._said_at = time.monotonic()
            self.say(f"Block {block.done} of {block.total}")

    def busy(self) -> None:
        """Let the bar move to and fro until the run is over.

        Nobody knows how long it takes.
        """
        self.progress.setRange(0, 0)

    def draw(self) -> None:
        """Draw how far the run is.

        By itself the bar would draw at once, and apart from everything else.
        """
        if (value := round(1000 * self._share)) != self.progress.value():
            self.progress.setUpdatesEnabled(False)
            self.progress.setValue(value)
            self.progress.setUpdatesEnabled(True)
            self.activity.advance(self._share)
