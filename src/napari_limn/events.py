"""Every event that a run yields, for programs that listen.

The records are defined by the rooms that yield them; see :mod:`napari_limn.runs` for what a run is.
"""

from napari_limn.annotation.findings import Found
from napari_limn.execution.events import ImageBegun, ImageDone
from napari_limn.inference.events import Planned, Viewing, Writing
from napari_limn.runs import BlockDone, Event, Noted, Warned, Working, drain
from napari_limn.training.events import Improved, Repainted, Scored, Step, Waiting

__all__ = [
    "BlockDone", "Event", "Found", "ImageBegun", "ImageDone", "Improved", "Noted", "Planned", "Repainted", "Scored", "Step", "Viewing", "Waiting", "Warned",
    "Working", "Writing", "drain",
]  # fmt: skip
