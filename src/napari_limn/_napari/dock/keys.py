"""Keys of the dock, while it is in sight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari.layers import Labels

from napari_limn._napari.layers.layers import active_layer
from napari_limn._napari.layers.listening import call_all, connected
from napari_limn._napari.painting.keys import Borrowed, borrow_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.components import ViewerModel


@dataclass(frozen=True, slots=True)
class DockKey:
    """A key, and what it does.

    Parameters
    ----------
    key
        As napari writes it.
    does
        For the help, a sentence without its dot.
    act
        Is called.
    paints
        Whether it belongs to painting: other layers than labels keep their own meaning of it.
    """

    key: str
    does: str
    act: Callable[[], object]
    paints: bool = False


class DockKeys:
    """Lends keys to the dock.

    They come before those of napari for the active layer and for the window, and are given back by :meth:`end`.

    Parameters
    ----------
    viewer
        Of the window.
    keys
        What is lent.
    """

    def __init__(self, viewer: ViewerModel, keys: Sequence[DockKey]) -> None:
        self.viewer, self.keys = viewer, keys
        self._listening: list[Callable[[], object]] = []
        self._lent: list[Callable[[], object]] = []

    def begin(self) -> None:
        """Take the keys."""
        if not self._listening:
            active = self.viewer.layers.selection.events.active
            self._listening += [connected(active, self._on_active), self._take(self.viewer)]
            self._on_active()

    def end(self) -> None:
        """Give the keys back."""
        call_all(self._lent)
        call_all(self._listening)

    def _on_active(self, event: Any = None) -> None:
        call_all(self._lent)
        if (layer := active_layer(self.viewer)) is not None:
            self._lent.append(self._take(layer))

    def _take(self, of: Any) -> Callable[[], None]:
        keys = (key for key in self.keys if not key.paints or type(of) is Labels)
        return borrow_keys(of, {key.key: Borrowed(key.act, key.does.replace(" ", "_")) for key in keys})


def help_text(keys: Sequence[DockKey]) -> str:
    """List keys and what they do, one a line."""
    return "\n".join(f"{key.key}: {key.does}" for key in keys)
