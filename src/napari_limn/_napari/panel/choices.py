"""What a choice of layers keeps, and the order of channels.

No Qt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

T = TypeVar("T")


def kept_choice(
    before: T, offered_before: Sequence[T], offered: Sequence[T], first: T, made_here: Callable[[T], bool]
) -> T:
    """Return what is chosen when other things are offered than before.

    What was chosen stays so while it is offered. A layer that was made here, chosen while there was no other, gives way to one
    that a user opened or painted.

    Parameters
    ----------
    before
        What was chosen.
    offered_before, offered
        What was offered, and what is now.
    first
        What is chosen where `before` is gone.
    made_here
        Whether one of them is a layer that was made here.
    """
    kept = before if before in offered else first
    if all(map(made_here, offered_before)):
        kept = next((one for one in offered if not made_here(one)), kept)
    return kept


NO_IMAGE = "Drag an image onto the window first."
NO_MODEL = "Train a model, or load one, first."


def in_channel_order(first: T | None, further: Container[T], listed: Iterable[T]) -> list[T]:
    """Return the image chosen and the further channels.

    These are in the order of the layer list.

    A form does not say in which order: that of its rows depends on when each layer came and was renamed, and so may be another
    in each form.

    Raises
    ------
    LimnError
        If no image is chosen.
    """
    if first is None:
        raise LimnError("there is no image layer; drag an image onto the window first.")
    return [first, *(one for one in listed if one in further and one is not first)]
