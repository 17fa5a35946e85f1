"""Damage files in many ways, and hold what reads them to a bound of time and memory."""

from __future__ import annotations

import copy
import json
import resource
import signal
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HOSTILE = (
    None, True, False, 0, -1, 1, 0.5, -0.0, 1e300, -1e-300, 2**31, 2**63, 2**64, 10**400, float("nan"), float("inf"),
    "", "0", "nan", "\x00", "../..", "é" * 300, "<b>", [], [[]], [None], [0] * 7, {}, {"": {}}, [1, "a"], [[1], [1, 2]],
)  # fmt: skip
"""Values that no reader expects, for any place of a JSON document."""


class Hangs(BaseException):
    """What ends a call that computes for too long; no `except Exception` may catch it."""


@contextmanager
def bounded(seconds: float = 5.0, growth: int = 700 << 20) -> Iterator[None]:
    """Raise if the block computes for longer, or if the process grows by more bytes, than this."""

    def end(_signal: int, _frame: Any) -> None:
        raise Hangs(f"computed for more than {seconds} s")

    earlier = signal.signal(signal.SIGPROF, end)
    before = _forget_most_memory()
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, earlier)
    grown = _most_memory() - before
    assert grown <= growth, f"grew by {grown >> 20} MB"


def _forget_most_memory() -> int:
    """Let the most bytes held count from now on, where the system can; return them."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _most_memory()


def _most_memory() -> int:
    """Return the most bytes that the process has held."""
    with suppress(OSError):
        state = Path("/proc/self/status").read_text()
        return int(state.split("VmHWM:")[1].split()[0]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def outcome(read: Callable[[], object]) -> str:
    """Say how a reader answered: 'read', or the sentence in which it refused.

    Anything else than a LimnError comes through, and fails the test that asks.
    """
    with bounded():
        try:
            read()
        except LimnError as error:
            sentence = str(error)
            assert sentence.strip(), "refused without a word"
            assert "\n" not in sentence.strip(), f"not one sentence: {sentence!r}"
            return sentence
    return "read"


def damaged(original: bytes, seed: int) -> bytes:
    """Give a copy with a few bytes changed, cut off, doubled, removed, zeroed or made large."""
    rng = np.random.default_rng(seed)
    data = bytearray(original)
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            break
        at = int(rng.integers(len(data)))
        width = int(rng.choice((1, 2, 4, 8, 64)))
        match int(rng.integers(7)):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                data[at : at + width] = rng.bytes(width)
            case 2:
                del data[at:]
            case 3:
                del data[at : at + width]
            case 4:
                data[at:at] = data[at : at + width]
            case 5:
                data[at : at + width] = bytes(width)
            case 6:
                data[at : at + width] = b"\xff" * width
    return bytes(data)


def damaged_json(value: Any, seed: int) -> Any:
    """Give a copy of a JSON value with one to three of its places changed, removed, doubled or nested."""
    rng = np.random.default_rng(seed)
    changed = json.loads(json.dumps(value))
    for _ in range(int(rng.integers(1, 4))):
        places = list(_places(changed))
        if not places:
            return copy.deepcopy(HOSTILE[int(rng.integers(len(HOSTILE)))])
        holder, key = places[int(rng.integers(len(places)))]
        match int(rng.integers(6)):
            case 0 | 1 | 2:
                holder[key] = copy.deepcopy(HOSTILE[int(rng.integers(len(HOSTILE)))])
            case 3:
                del holder[key]
            case 4:
                holder[key] = [holder[key]]
            case 5:
                other, name = places[int(rng.integers(len(places)))]
                holder[key] = json.loads(json.dumps(other.get(name) if isinstance(other, dict) else None))
    return changed


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a JSON value as the container and the key in it."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from _places(value[key])
