"""What a controller and the box of its run ask each other.

No Qt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from napari_limn.runs import BlockDone, Event


class RunView(Protocol):
    """What a controller asks of the box around its run."""

    @property
    def running(self) -> bool:
        """Return whether a run is under way."""
        ...

    @property
    def stopping(self) -> bool:
        """Return whether the run under way was asked to stop.

        It may be called in any thread.
        """
        ...

    def run(
        self,
        events: Generator[Event, None, Any],
        on_result: Callable[[Any], object] | None = None,
        needs: Iterable[object] = (),
        *,
        endless: bool = False,
    ) -> None:
        """Run `events`; hand their result to `on_result`, or to the controller's own.

        `needs` are layers: when the user removes one of them, the run stops and says so. An `endless` one gives way to whatever
        else is begun here.
        """

    def stop(self) -> None:
        """Stop the run under way at its next event."""

    def say(self, text: str) -> None:
        """Show one sentence."""

    def note(self, text: str) -> None:
        """Show a further sentence below it, until the next run or :meth:`forget_notes`."""

    def forget_notes(self) -> None:
        """Forget the further sentences; call :meth:`say` afterwards."""

    def report(self, error: Exception) -> None:
        """Show an error."""

    def offer(self, details: str) -> None:
        """Offer a text to copy; none if it is empty."""

    def advance(self, share: float) -> None:
        """Take note of how far the run is, from 0 to 1.

        It is drawn with the next look at the clock.
        """

    def block_done(self, block: BlockDone) -> None:
        """Show that a block is done."""

    def busy(self) -> None:
        """Show that nobody knows how long the run takes."""


class RunHandler(Protocol):
    """What a controller decides, in the window's thread."""

    def start(self) -> None:
        """Start the run that the form describes."""

    def on_event(self, event: Event) -> None:
        """Take note of what the run yields."""

    def on_result(self, result: Any) -> None:
        """Take what the run returned; None if it was stopped."""

    def on_error(self, error: Exception) -> None:
        """Show an error of the run, or a mistake of the user."""
