"""Where to compute, and how much memory there is."""

from __future__ import annotations

import ctypes
import importlib
import os
import platform
import re
import sys
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import torch

from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_limn.specs import DeviceName, Precision

HEAP_BLOCK = 4 << 20
"""Bytes from which on a block of memory is given back as soon as it is freed."""

_GROUPS, _OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
# by the version of control groups: the files with limit and use, and what of the use is free in truth
_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}
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
    """Choose a device by name; "auto" takes CUDA, then MPS, then CPU.

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
    """Choose the type to compute in.

    ``"auto"`` is float32 here, in which blocks and one pass agree to rounding.
    """
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
    """Tell whether the device computes bfloat16 natively.

    CPUs with AMX do, and CUDA cards since Ampere.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_amx_tile_supported())


def low_precisions(device: torch.device) -> tuple[torch.dtype, ...]:
    """Return the lower precisions that the device was made for.

    bfloat16 first: it holds numbers as large as float32 does, while float16 ends at 65,504. On CUDA (not run by the authors) both,
    where the card has both; on CPUs with AVX-512 BF16 or AMX bfloat16.
    """
    if device.type == "cuda":
        return (torch.bfloat16, torch.float16) if fast_bfloat16(device) else (torch.float16,)
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # not in PyTorch 2.4
    return (torch.bfloat16,) if device.type == "cpu" and known is not None and known() else ()


def parse_bytes(text: str | int) -> int:
    """Parse a size such as ``"2GB"``, ``"512MiB"`` or a number.

    Examples
    --------
    >>> parse_bytes("1.5GB")
    1500000000
    """
    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d*)?|\.\d+)\s*((?:[KMGT]I?)?)B?\s*", str(text).upper())
    size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if size < 1:
        raise LimnError(f"found memory {str(text)[:40]!r}, expected a size such as 2GB or 512MB.")
    return size


def channels_last(ndim: int) -> Any:
    """Return the memory layout in which convolutions are fastest."""
    return torch.channels_last if ndim == 2 else torch.channels_last_3d


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute in so many CPU threads; None leaves their number.

    Enter it in the thread that computes.

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
    """Make the C library return freed large blocks to the system.

    Blocks of 4 MB and more go back as soon as they are freed. Returns whether that could be set.

    Returns whether it does.

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
    """Tell whether an exception means that memory did not suffice.

    It may be main memory or that of the device.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free on a device.

    Of a CUDA card they are its own. Of main memory they are the least of what the machine has free, and of what the
    limits on this process leave: those of the control groups that it is in (a container, a job of a scheduler), and
    that of its address space (``ulimit -v``).
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return max(0, min([_host_free(), *(limit - used for limit, used in _limits())]))


def total_memory() -> int:
    """Return the bytes of main memory that this process may use.

    0 where the system does not say.
    """
    names = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
    known = hasattr(os, "sysconf") and all(name in os.sysconf_names for name in names)
    host = [os.sysconf(names[0]) * os.sysconf(names[1])] if known else []
    return min([*host, *(limit for limit, _ in _limits())], default=0)


def group_limits(root: Path = _GROUPS, own: Path = _OWN_GROUPS) -> Iterator[tuple[int, int]]:
    """Yield memory limit and use of each control group of this process.

    Groups lie in each other, and each limits all that is in it. Files that the system may drop from its cache at once
    count as free.

    Parameters
    ----------
    root
        Folder of the groups, of version 1, 2, or both.
    own
        File that names the groups of this process.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for controllers, path in (line.split(":", 2)[1:] for line in lines if line.count(":") >= 2):
        if controllers and "memory" not in controllers.split(","):
            continue
        base = root / "memory" if controllers else root
        parts = PurePosixPath(path.lstrip("/")).parts
        # in a container the path may be one of the host, which is not there: the root is then its own group
        parts = () if ".." in parts else parts
        for count in range(len(parts), -1, -1):
            yield from _group(base.joinpath(*parts[:count]), _FILES[2 if not controllers else 1])


def _group(folder: Path, files: tuple[str, str, str]) -> Iterator[tuple[int, int]]:
    """Yield limit and use of one group, if it has a limit."""
    limit, usage, reclaimable = files
    with suppress(OSError, ValueError):  # no such group, or "max"
        most, used = (int((folder / name).read_text()) for name in (limit, usage))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        yield most, max(0, used - int(stat.get(reclaimable, 0)))


def _limits() -> Iterator[tuple[int, int]]:
    """Yield limit and use of all that limits main memory."""
    yield from group_limits()
    with suppress(ImportError, AttributeError, OSError, ValueError):  # not on Windows
        resource: Any = importlib.import_module("resource")
        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
            yield most, pages * os.sysconf("SC_PAGE_SIZE")


def _host_free() -> int:
    """Return the bytes of main memory that the machine has free.

    Half of all memory where it does not say.
    """
    try:
        with open("/proc/meminfo") as lines:
            sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        return sizes["MemAvailable"]
    except (OSError, KeyError):
        pages = "SC_PHYS_PAGES"
        known = hasattr(os, "sysconf") and pages in os.sysconf_names
        return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE") // 2 if known else 4 << 30


def device_title(device: torch.device) -> str:
    """Name the card, with its memory, or the processor."""
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        return f"CUDA: {card.name}, {card.total_memory / 1e9:.0f} GB"
    try:
        with open("/proc/cpuinfo") as lines:
            model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration, IndexError):
        model = platform.processor() or platform.machine()
    return f"{device.type.upper()}: {model}"
