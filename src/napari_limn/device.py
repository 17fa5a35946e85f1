"""Where to compute, and how much memory there is."""

from __future__ import annotations

import ctypes
import os
import platform
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_limn.specs import DeviceName, Precision

HEAP_BLOCK = 4 << 20
"""Bytes from which on a block of memory is given back as soon as it is freed."""

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # of <malloc.h>
_UNITS = {
    "": 1,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "KI": 2**10,
    "MI": 2**20,
    "GI": 2**30,
    "TI": 2**40,
}


def choose_device(name: DeviceName = "auto") -> torch.device:
    """The device of that name; ``"auto"`` takes CUDA, then Apple's MPS, then the CPU.

    CUDA and MPS were not run by the authors: they had neither.

    Raises
    ------
    LimnError
        If the device is not there.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(d for d in ("cuda", "mps", "cpu") if there[d]))
    if name not in there:
        raise LimnError(f"found device {name!r}, expected one of auto, {', '.join(there)}.")
    if not there[name]:
        raise LimnError(
            f"device {name!r} is not available to PyTorch {torch.__version__}; choose another, or auto."
        )
    return torch.device(name)


def choose_precision(name: Precision, device: torch.device) -> torch.dtype:
    """Type to compute in; ``"auto"`` is float32 here, in which blocks and one pass agree to rounding."""
    if name == "float16" and device.type == "cpu":
        raise LimnError(
            "found precision float16 on a CPU, which is slow there; choose bfloat16, float32 or auto."
        )
    types = {
        "auto": torch.float32,
        "float32": torch.float32,
        "bfloat16": torch.bfloat16,
        "float16": torch.float16,
    }
    if name not in types:
        raise LimnError(f"found precision {name!r}, expected one of {', '.join(types)}.")
    return types[name]


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is computed natively: on CPUs with AMX, and on CUDA cards since Ampere."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_amx_tile_supported())


def low_precision(device: torch.device) -> torch.dtype | None:
    """The precision that the device was made for: float16 on CUDA (not run), bfloat16 on CPUs with AVX-512 BF16 or AMX."""
    if device.type == "cuda":
        return torch.float16
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # not in PyTorch 2.4
    return torch.bfloat16 if device.type == "cpu" and known is not None and known() else None


def parse_bytes(text: str | int) -> int:
    """``"2GB"``, ``"512MiB"`` or a number of bytes.

    Examples
    --------
    >>> parse_bytes("1.5GB")
    1500000000
    """
    found = re.fullmatch(r"\s*(\d{1,15}(?:\.\d*)?|\.\d+)\s*((?:[KMGT]I?)?)B?\s*", str(text).upper())
    size = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if size < 1:
        raise LimnError(f"found memory {str(text)[:40]!r}, expected a size such as 2GB or 512MB.")
    return size


def channels_last(ndim: int) -> Any:
    """The memory layout in which convolutions over 2 or 3 axes are fastest."""
    return torch.channels_last if ndim == 2 else torch.channels_last_3d


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute in so many threads of the CPU, as before where `count` is None; enter it in the thread that computes.

    Sums of float32 are added up in another order by another number of threads, so that their last bits differ.
    """
    before = torch.get_num_threads()
    if count is not None and count != before:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


def steady_heap() -> bool:
    """Have the C library give blocks of 4 MB and more back as soon as they are freed; whether it could be told.

    By itself glibc changes this bound as it goes, so that the memory of a run depends on what ran before. A larger bound
    saves the time that new pages take, and leaves gaps in the heap: 32 MB took 0.85 of the time in 2D, and 1.2 to 1.8 times
    the memory. Threads that are made from now on share two heaps: with one of its own each, four that read kept 40 MB more.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        return bool(libc.mallopt(_M_MMAP_THRESHOLD, HEAP_BLOCK) and libc.mallopt(_M_ARENA_MAX, 2))
    except (OSError, AttributeError):
        return False


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that main memory, or that of the device, did not suffice."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


def free_memory(device: torch.device) -> int:
    """Bytes free on the device: of a CUDA card its own, otherwise main memory."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo") as lines:
            found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        return found["MemAvailable"]
    except (OSError, KeyError):
        pages = "SC_PHYS_PAGES"
        known = hasattr(os, "sysconf") and pages in os.sysconf_names
        return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE") // 2 if known else 4 << 30


def total_memory() -> int:
    """Bytes of main memory; 0 where the system does not say."""
    names = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
    known = hasattr(os, "sysconf") and all(name in os.sysconf_names for name in names)
    return os.sysconf(names[0]) * os.sysconf(names[1]) if known else 0


def device_title(device: torch.device) -> str:
    """What a device is called, with its memory where it has its own: the model of a card, or of the processor."""
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        return f"CUDA: {card.name}, {card.total_memory / 1e9:.0f} GB"
    try:
        with open("/proc/cpuinfo") as lines:
            found = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration, IndexError):
        found = platform.processor() or platform.machine()
    return f"{device.type.upper()}: {found}"
