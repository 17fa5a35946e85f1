"""Random numbers of torch for one run alone.

Why: torch draws initial weights and dropout from one generator of the whole process. A run that seeded it would change what the caller draws
next, and two runs in two threads would draw each other's numbers. What numpy draws here comes from generators of its own anyway.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

_GENERATOR = threading.Lock()  # whose turn it is to have torch's own


class RandomStream:
    """A stream of random numbers, lent to torch's generator for a while.

    Code that does not ask for it, in another thread, must not draw from torch's generator meanwhile.

    Parameters
    ----------
    seed
        Where it begins, as with ``torch.manual_seed``.
    device
        On which a network draws too, beside the CPU.

    Examples
    --------
    >>> one, other = RandomStream(7, torch.device("cpu")), RandomStream(7, torch.device("cpu"))
    >>> with one.lent():
    ...     first = torch.rand(2)
    >>> with other.lent():
    ...     torch.equal(torch.rand(2), first)
    True
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        devices = ["cpu"] if device.type == "cpu" else ["cpu", device.type]
        self._states = {name: torch.Generator(name).manual_seed(seed).get_state() for name in devices}

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let torch draw from this stream; one thread at a time."""
        with _GENERATOR:
            before = {name: _module(name).get_rng_state() for name in self._states}
            _set(self._states)
            try:
                yield
            finally:
                self._states = {name: _module(name).get_rng_state() for name in self._states}
                _set(before)


def _module(device: str) -> Any:
    """Give the part of torch that has the generator of a device."""
    return torch if device == "cpu" else getattr(torch, device)


def _set(states: dict[str, torch.Tensor]) -> None:
    for name, state in states.items():
        _module(name).set_rng_state(state)
