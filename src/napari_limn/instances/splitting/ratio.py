"""Objects that touch, split by a ratio: a look-up over basins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_limn.instances.components import numbered
from napari_limn.instances.splitting.merge_tree import MergeTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_limn.instances.measure import Sums
    from napari_limn.instances.survey import Contacts

RATIOS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
"""From seldom split to often split: what a fit chooses from."""

DEFAULT = 0.8


@dataclass(frozen=True, slots=True)
class SplitObjects:
    """Objects at one ratio.

    Attributes
    ----------
    ids
        Object of each basin; 0 for those that are dropped, and for no basin (row 0).
    sums
        What the objects measure, one row each.
    classes
        Class of each object.
    """

    ids: NDArray[np.uint32]
    sums: Sums
    classes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Splitting:
    """Everything about basins that objects are made of; make one with :meth:`of`.

    No step looks at a voxel again: another ratio or another smallest size takes a moment.
    """

    tree: MergeTree
    sums: Sums
    contacts: Contacts
    classes: NDArray[np.int64]

    @classmethod
    def of(
        cls, peaks: NDArray[np.int64], classes: NDArray[np.int64], sums: Sums, contacts: Contacts
    ) -> Splitting:
        """Prepare the splitting of basins.

        Parameters
        ----------
        peaks, classes
            Depth of each basin's peak, and its class; row 0 stands for no basin.
        sums
            Of the basins, row 0 for none.
        contacts
            Which of them touch.
        """
        same = classes[contacts.ones] == classes[contacts.others]
        pairs = (contacts.ones[same], contacts.others[same], contacts.saddles[same])
        return cls(MergeTree.of(peaks, *pairs), sums, contacts, classes)

    def objects(self, ratio: float, smallest: int = 0) -> SplitObjects:
        """Return the objects at a ratio.

        Parameters
        ----------
        ratio
            Two basins are two objects where the saddle is lower than this share of the lower peak.
        smallest
            Voxels of an object, at least.
        """
        stands = self.tree.at(ratio)
        sums = self.sums.regrouped(stands, len(stands))
        pairs = self.contacts
        inside = stands[pairs.ones] == stands[pairs.others]
        for axis in range(3):
            np.add.at(sums.inner_faces[axis], stands[pairs.ones[inside]], pairs.faces[axis][inside])
        own = stands == np.arange(len(stands))
        own[0] = False
        numbers = numbered(sums.first, keep=own & (sums.count >= max(smallest, 1)))
        count = int(numbers.max(initial=0))
        kept = sums.regrouped(numbers.astype(np.int64), count + 1).rows(1)
        named = np.zeros(count + 1, np.int64)
        named[numbers] = self.classes
        return SplitObjects(numbers[stands], kept, named[1:])


def fit_ratio(splitting: Splitting, overlaps: NDArray[np.int64]) -> float:
    """Choose the ratio that fits objects which were painted whole.

    Parameters
    ----------
    splitting
        The basins.
    overlaps
        Voxels that each basin shares with each painted object (basins, objects); row 0 for voxels in no basin.

    Returns
    -------
    That of :data:`RATIOS` with the greatest mean of best intersection over union; of equal ones the nearest to the default.
    """
    painted = overlaps.sum(0)
    scores = {}
    for ratio in RATIOS:
        stands = splitting.tree.at(ratio)
        shared = np.zeros_like(overlaps)
        np.add.at(shared, stands, overlaps)
        sizes = np.zeros(len(stands), np.int64)
        np.add.at(sizes, stands, splitting.sums.count)
        shared[0] = 0
        union = sizes[:, None] + painted[None] - shared
        scores[ratio] = float((shared / np.maximum(union, 1)).max(0).mean())
    return max(RATIOS, key=lambda ratio: (round(scores[ratio], 9), -abs(ratio - DEFAULT)))
