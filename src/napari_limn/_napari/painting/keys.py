"""Keys that a widget borrows from a layer while in sight."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Labels, Layer

DIGITS = tuple("0123456789")
_HELP = re.compile(r"use <([^>]+)> for ([^,]+)")  # napari's words for the keys of its tools


class Borrowed:
    """Hold the new and the earlier act of a key.

    It is `live` until it is given back.
    """

    def __init__(self, act: Callable[[], object], name: str) -> None:
        self._act, self.__name__ = act, name  # napari asks its functions for their names
        self.live = True
        self.before: Any = None

    def __call__(self, layer: Any) -> None:
        self._act()


def borrow_digits(layer: Labels, act: Callable[[int], object]) -> Callable[[], None]:
    """Let the keys 0 to 9 call `act`; return what ends that.

    It holds while the layer is active.

    They come before napari's own meaning of 1 to 7, the tools, which have letters too; meanwhile the status bar names those.
    Several may borrow and give back in any order: the last borrower that has not given back has the keys.
    """
    letters = _Letters(layer)
    end = borrow_keys(
        layer, {digit: Borrowed(partial(act, int(digit)), f"choose_class_{digit}") for digit in DIGITS}
    )

    def give_back() -> None:
        letters.give_back()
        end()

    return give_back


def borrow_escape(of: Labels | ViewerModel, act: Callable[[], object]) -> Callable[[], None]:
    """Let Escape call `act`; return what ends that."""
    return borrow_keys(of, {"Escape": Borrowed(act, "end_mode")})


def borrow_keys(of: Layer | ViewerModel, keys: dict[str, Borrowed]) -> Callable[[], None]:
    """Bind keys of a layer or window; return what ends that."""
    for name, key in keys.items():
        key.before = of.bind_key(name, key, overwrite=True)
    return partial(_give_back, of, keys)


class _Letters:
    """Keeps digits out of the help that the status bar shows."""

    def __init__(self, layer: Labels) -> None:
        self._layer, self._before = layer, layer.help
        layer.events.help.connect(self._on_help)
        self._on_help()

    def _on_help(self, event: Any = None) -> None:
        """Name letters again.

        napari names a tool's first key whenever another tool is chosen.
        """
        if (text := in_letters(self._layer.help)) != self._layer.help:
            self._before, self._layer.help = self._layer.help, text

    def give_back(self) -> None:
        self._layer.events.help.disconnect(self._on_help)
        if self._layer.help == in_letters(self._before):
            self._layer.help = self._before


def in_letters(text: str) -> str:
    """Rewrite napari's help for tools with keys that are no digits.

    Tools that have no such key are left out.

    Examples
    --------
    >>> in_letters("use <2> for activate the paint brush, use <Space> for pan")
    'use <P> for activate the paint brush, use <Space> for pan'
    """
    shortcuts = get_settings().shortcuts.shortcuts
    keys = [[str(key) for key in bound] for name, bound in shortcuts.items() if "labels" in name]
    others = {bound[0]: next((k for k in bound if k not in DIGITS), "") for bound in keys if bound}
    tools = [(others.get(key, key), what) for key, what in _HELP.findall(text)]
    return ", ".join(f"use <{key}> for {what}" for key, what in tools if key) if tools else text


def _give_back(of: Layer | ViewerModel, keys: dict[str, Borrowed]) -> None:
    for name, key in keys.items():
        key.live = False
        top = of.bind_key(name, None)
        while isinstance(top, Borrowed) and not top.live:
            top = top.before
        if top is not None:
            of.bind_key(name, top, overwrite=True)
