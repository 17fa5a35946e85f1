"""The real images that come with the package.

Two SEM images of rat spinal cord, with strokes and truth.

From the data set ``axondeepseg/data_axondeepseg_sem`` (MIT licence, see ``data/LICENSE-axondeepseg``; Zaimi et al.,
AxonDeepSeg, Scientific Reports 8, 3816, 2018); strokes simulated on 0.5 % of the pixels of the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_limn.volume.volume import RGBA

DATA = Path(__file__).parent / "data"
NAMES = {1: "background", 2: "axon", 3: "myelin"}
COLORS: dict[int, RGBA] = {1: (0.35, 0.55, 0.95, 1.0), 2: (1.0, 0.75, 0.2, 1.0), 3: (0.9, 0.25, 0.4, 1.0)}


@dataclass(frozen=True, slots=True)
class SampleImage:
    """Paths of an image, its full truth, and its strokes.

    Pixels of 0.1 µm; the truth in paint values; strokes, if there are any.
    """

    image: Path
    truth: Path
    strokes: Path | None = None


PAINTED = SampleImage(DATA / "sem_rat3.tif", DATA / "sem_rat3_truth.tif", DATA / "sem_rat3_strokes.tif")
UNSEEN = SampleImage(DATA / "sem_rat3b.tif", DATA / "sem_rat3b_truth.tif")
