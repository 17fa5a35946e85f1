"""What a report about a fault needs to say.

Versions, device, memory, and whether two steps and a prediction work.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_limn.device import choose_device, device_title, free_memory, total_memory
from napari_limn.errors import LimnError
from napari_limn.inference.pipeline import PredictSpec, predict
from napari_limn.network.spec import UNetSpec
from napari_limn.training.spec import TrainSpec
from napari_limn.training.trainer import train
from napari_limn.version import __version__

if TYPE_CHECKING:
    from napari_limn.specs import DeviceName

_PACKAGES = (
    "napari",
    "npe2",
    "qtpy",
    "PyQt6",
    "PySide6",
    "magicgui",
    "superqt",
    "openvino",
    "torch",
    "numpy",
    "zarr",
    "tifffile",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The machine as this package sees it.

    Parameters
    ----------
    version, python, system
        Of this package, of Python, of the operating system.
    packages
        Versions of what it works with, by name; None for what is not installed.
    manifest
        Whether napari can find the plugin: the entry point of its manifest is there.
    device
        The device that is chosen by itself, by its name.
    cuda, mps
        Version of CUDA that PyTorch is built for, if a card can be used; whether Apple's MPS can be.
    driver
        Version of the driver of the card, where it can be read.
    cores, threads
        Cores of the machine, and threads that PyTorch computes with.
    memory, free
        Bytes of main memory, and bytes free on the device.
    works
        Whether the self-test went well.
    test
        What the self-test gave, in one line.
    """

    version: str
    python: str
    system: str
    packages: dict[str, str | None]
    manifest: bool
    device: str
    cuda: str | None
    mps: bool
    driver: str | None
    cores: int
    threads: int
    memory: int
    free: int
    works: bool
    test: str

    def __str__(self) -> str:
        there = [f"{name} {number}" for name, number in self.packages.items() if number]
        absent = [name for name, number in self.packages.items() if not number]
        rows = {
            "napari-limn": f"{self.version}, plugin manifest {'found' if self.manifest else 'NOT found'}",
            "Python": f"{self.python} on {self.system}",
            "with": ", ".join(there),
            "without": ", ".join(absent) or "nothing",
            "device": self.device,
            "CUDA": f"{self.cuda}, driver {self.driver or 'unknown'}" if self.cuda else "not available",
            "MPS": "available" if self.mps else "not available",
            "cores": f"{self.cores}, {self.threads} threads",
            "memory": f"{self.free / 1e9:.1f} GB free, main memory {self.memory / 1e9:.1f} GB",
            "self-test": f"{'passed' if self.works else 'FAILED'}: {self.test}",
        }
        return "\n".join(f"{name}: {what}" for name, what in rows.items())


def diagnose(name: DeviceName = "auto") -> Diagnosis:
    """Look at the machine, and train and predict a little.

    Two steps, and labels of an image of 32 × 32 pixels; takes a few seconds.

    Parameters
    ----------
    name
        The device to test.
    """
    device = choose_device(name)
    works, test = self_test(name)
    return Diagnosis(
        version=__version__,
        python=platform.python_version(),
        system=platform.platform(),
        packages={package: _version(package) for package in _PACKAGES},
        manifest=_has_manifest(),
        device=device_title(device),
        cuda=torch.version.cuda if torch.cuda.is_available() else None,
        mps=torch.backends.mps.is_available(),
        driver=_driver(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        memory=total_memory(),
        free=free_memory(device),
        works=works,
        test=test,
    )


def self_test(name: DeviceName = "auto") -> tuple[bool, str]:
    """Train two steps and predict.

    Returns whether it worked, and one line about it.
    """
    began = time.perf_counter()
    image = np.zeros((32, 32), np.float32)
    image[16:] = 1
    labels = np.zeros(image.shape, np.uint8)
    labels[2:6], labels[26:30] = 1, 2
    spec = TrainSpec(
        steps=2, batch=1, patch=(16, 16), device=name, network=UNetSpec(width=2, factors=((2, 2),))
    )
    try:
        predicted = predict(
            train(image, labels, spec), image, spec=PredictSpec(device=name, precision="float32")
        )
    except (
        LimnError,
        RuntimeError,
        OSError,
        MemoryError,
    ) as error:  # what PyTorch, a driver or the memory may say
        return False, f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
    right = predicted.shape == image.shape and set(np.unique(predicted)) <= {1, 2}
    took = time.perf_counter() - began
    return right, f"2 steps of training and {image.shape[0]} × {image.shape[1]} labels in {took:.1f} s"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _has_manifest() -> bool:
    """Return whether napari can find the plugin.

    The entry point is installed, and the manifest that it names.
    """
    try:
        points = distribution("napari-limn").entry_points.select(group="napari.manifest")
    except PackageNotFoundError:
        return False
    return bool(points) and files("napari_limn").joinpath("napari.yaml").is_file()


def _driver() -> str | None:
    """Read the version of NVIDIA's driver from the kernel."""
    try:
        with open("/proc/driver/nvidia/version") as lines:
            return lines.readline().split("Module")[-1].split()[0]
    except (OSError, IndexError):
        return None
