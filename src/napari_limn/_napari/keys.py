"""Keys of a labels layer that a widget borrows while it is in sight."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Labels

DIGITS = tuple("0123456789")


class _Borrowed:
    """What a digit does, and what it did before; `live` until it is given back."""

    def __init__(self, act: Callable[[int], object], digit: int) -> None:
        self._act, self._digit = act, digit
        self.__name__ = f"choose_class_{digit}"  # napari asks its functions for their names
        self.live = True
        self.before: Any = None

    def __call__(self, layer: Any) -> None:
        self._act(self._digit)


def borrow_digits(layer: Labels, act: Callable[[int], object]) -> Callable[[], None]:
    """Let the keys 0 to 9 call `act` while a layer is active and nothing else takes them; returns what gives them back.

    They come before napari's own meaning of 1 to 7, the tools, which have letters too. Several may borrow and give back in
    any order: whoever borrowed last and has not given back has the keys.
    """
    keys = {digit: _Borrowed(act, int(digit)) for digit in DIGITS}
    for digit, key in keys.items():
        key.before = layer.bind_key(digit, key, overwrite=True)
    return partial(_give_back, layer, keys)


def _give_back(layer: Labels, keys: dict[str, _Borrowed]) -> None:
    for digit, key in keys.items():
        key.live = False
        top = layer.bind_key(digit, None)
        while isinstance(top, _Borrowed) and not top.live:
            top = top.before
        if top is not None:
            layer.bind_key(digit, top, overwrite=True)
