"""A box around a run without a window: runs at once what a controller starts, and keeps what is said."""

from __future__ import annotations

from napari_limn._napari.panel.session import Session, Shared
from napari_limn.annotation.classes import Classes
from napari_limn.annotation.findings import Found
from napari_limn.errors import LimnError
from napari_limn.events import Noted, Warned
from napari_limn.model import Model, ModelSpec
from napari_limn.network.spec import UNetSpec
from napari_limn.network.unet import UNet


class FakeBox:
    """What controllers ask of the box around their run; :meth:`finish` runs what was started."""

    def __init__(self):
        self.handler = None
        self.said, self.notes, self.reported, self.offered = [], [], [], ""
        self.pending = None
        self.stopping = self.is_busy = False
        self.share = 0.0

    @property
    def running(self):
        return self.pending is not None

    @property
    def status(self):
        return "\n".join([*self.said[-1:], *self.notes])

    def run(self, events, on_result=None, needs=(), *, endless=False):
        self.needs, self.endless = list(needs), endless
        self.notes.clear()
        self.offered, self.share, self.stopping, self.is_busy = "", 0.0, False, False
        self.pending = events, on_result or self.handler.on_result

    def stop(self):
        self.stopping = True

    def say(self, text):
        self.said.append(text)

    def note(self, text):
        self.notes.append(text)

    def forget_notes(self):
        self.notes.clear()

    def report(self, error):
        self.reported.append(error)
        self.said.append(str(error))
        self.offered = "traceback"

    def offer(self, details):
        self.offered = details

    def advance(self, share):
        self.share = share

    def block_done(self, block):
        self.advance(block.done / block.total)

    def busy(self):
        self.is_busy = True

    # ---- what a user does ----------------------------------------------------------------------------------------
    def press(self, act):
        """Press a button: a mistake becomes a sentence."""
        try:
            act()
        except LimnError as error:
            self.handler.on_error(error)

    def finish(self, stop_at=None):
        """Run to the end, or stop after the first event of a kind."""
        (events, take), result = self.pending, None
        try:
            while not self.stopping:
                event = next(events)
                if isinstance(event, (Warned, Noted)) and not isinstance(event, Found):
                    self.note(event.message)
                self.handler.on_event(event)
                self.stopping |= stop_at is not None and isinstance(event, stop_at)
            events.close()
        except StopIteration as end:
            result = end.value
        except Exception as error:  # noqa: BLE001 - as the thread of a run does
            self.pending = None
            self.handler.on_error(error)
            return
        self.pending = None
        self.press(lambda: take(result))


def new_session(shared=None):
    return Session(shared or Shared())


def untrained(channels=1, width=4, classes=None, factors=((2, 2),) * 2, norm="batch"):
    """A model that was not trained."""
    network = UNetSpec(width=width, factors=factors, in_channels=channels, norm=norm)
    spec = ModelSpec(network=network, classes=classes or Classes((1, 2)))
    return Model(spec, UNet(network).eval())
