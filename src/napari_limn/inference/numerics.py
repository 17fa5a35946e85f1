"""What decides the last bits of a result.

Why: other instructions add sums up in another order. From AVX-512 to AVX2, nearly all scores differ in their last bits, and with them
a label where two classes tie. Parts of one output that come from both are then those of neither.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from napari_limn.files.working import unfinished
from napari_limn.inference.ledger import NUMERICS, Ledger

if TYPE_CHECKING:
    from collections.abc import Mapping

_LIMITS = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")  # variables that take instructions away


def numerics(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Name what decides the last bits, as fields of a fingerprint.

    The version of PyTorch and the processor's instructions; for a card (not run by the authors) its name, cuDNN and how that computes.

    Parameters
    ----------
    device, dtype
        Where and in which precision a run computes.

    Examples
    --------
    >>> sorted(numerics(torch.device("cpu"), torch.float32))
    ['processor', 'torch']
    """
    bits = {"torch": str(torch.__version__)}
    if device.type == "cuda":
        cudnn: Any = torch.backends.cudnn
        convolutions = getattr(cudnn, "conv", None)  # newer PyTorch only, where the older name may raise
        tf32 = cudnn.allow_tf32 if convolutions is None else convolutions.fp32_precision
        how = {"TF32": str(tf32), "deterministic": bool(cudnn.deterministic)}
        return bits | {"card": torch.cuda.get_device_name(device), "cuDNN": cudnn.version()} | how
    words = [platform.machine(), torch.backends.cpu.get_cpu_capability()]
    if dtype != torch.float32 and torch.cpu._is_amx_tile_supported():
        words.append("AMX")
    limits = [f"{name}={os.environ[name].upper()}" for name in _LIMITS if os.environ.get(name)]
    return bits | {"processor": " ".join(words + limits)}


def taken_over(recorded: Mapping[str, Any], out: object, *, mixed: bool) -> Mapping[str, Any] | None:
    """Return the fingerprint whose last bits count, whatever computes now.

    None where those of this process have to be the same. A journal of earlier versions names none.

    Parameters
    ----------
    recorded
        The fingerprint of an earlier run into `out`; empty where there is none.
    out
        Where the labels go. Nothing is computed any more for a file that is whole.
    mixed
        Whether the user allows one output from several processors.
    """
    free = mixed or not any(field in recorded for field in NUMERICS) or _is_whole(out)
    return recorded if recorded and free else None


def _is_whole(out: object) -> bool:
    """Tell whether nothing is left to compute for a file."""
    if not isinstance(out, Path) or not out.exists() or unfinished(out).exists():
        return False
    return Ledger.is_finished(out)
