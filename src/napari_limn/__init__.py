"""Paint strokes, train a U-Net, get seam-free labels of any size.

The names below are loaded when first used, so that ``import napari_limn`` needs neither torch nor napari.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_limn.version import __version__ as __version__

if TYPE_CHECKING:
    from napari_limn.annotation.classes import Classes
    from napari_limn.errors import LimnError
    from napari_limn.evaluation.scores import Score, score
    from napari_limn.execution.folder import folder_events, predict_folder
    from napari_limn.inference.pipeline import PredictSpec, plan, predict, prediction_events
    from napari_limn.instances.api import Objects, object_events, objects
    from napari_limn.instances.spec import ObjectSpec
    from napari_limn.instances.table import Table
    from napari_limn.model import Model, ModelSpec
    from napari_limn.network.spec import UNetSpec
    from napari_limn.runs import drain
    from napari_limn.training.spec import AugmentSpec, TrainSpec
    from napari_limn.training.trainer import train, training_events
    from napari_limn.volume.reading.open import open_volume
    from napari_limn.volume.volume import Volume

# OpenMP threads that wait in a loop starve the window, and each other where several programs run; those that fall asleep at
# once take half as long again for a training step of small patches. So they wait for some microseconds, where the runtime can
# be set to (GNU's). PyTorch reads this when it is first loaded
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

__all__ = [
    "AugmentSpec",
    "Classes",
    "LimnError",
    "Model",
    "ModelSpec",
    "ObjectSpec",
    "Objects",
    "PredictSpec",
    "Score",
    "Table",
    "TrainSpec",
    "UNetSpec",
    "Volume",
    "drain",
    "folder_events",
    "object_events",
    "objects",
    "open_volume",
    "plan",
    "predict",
    "predict_folder",
    "prediction_events",
    "score",
    "train",
    "training_events",
]

_ROOMS = {
    "annotation.classes": ["Classes"],
    "errors": ["LimnError"],
    "execution.folder": ["folder_events", "predict_folder"],
    "runs": ["drain"],
    "inference.pipeline": ["PredictSpec", "plan", "predict", "prediction_events"],
    "model": ["Model", "ModelSpec"],
    "network.spec": ["UNetSpec"],
    "instances.api": ["Objects", "object_events", "objects"],
    "instances.spec": ["ObjectSpec"],
    "instances.table": ["Table"],
    "evaluation.scores": ["Score", "score"],
    "training.spec": ["AugmentSpec", "TrainSpec"],
    "training.trainer": ["train", "training_events"],
    "volume.reading.open": ["open_volume"],
    "volume.volume": ["Volume"],
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
