"""Which basins are one object.

That is decided by a ratio, without looking at voxels.

Two basins are one object unless the saddle between them is lower than a share, the *ratio*, of the lower peak: a neck is a border
where it is thinner than that share of the thinner part. This has no unit, so that one ratio serves small and large objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import minimum_spanning_tree

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class MergeTree:
    """Basins in the order in which they join as the water falls.

    Parameters
    ----------
    peaks
        Depth of each basin's peak; row 0 stands for no basin.
    parents
        The basin with a higher peak that each one joins; itself if it joins none.
    saddles
        Depth at which it does; −1 if it joins none.

    Examples
    --------
    >>> tree = MergeTree.of(np.array([0, 9, 5, 8]), np.array([1, 2]), np.array([2, 3]), np.array([4, 2]))
    >>> tree.at(0.9).tolist(), tree.at(0.7).tolist(), tree.at(0.2).tolist()
    ([0, 1, 2, 3], [0, 1, 1, 3], [0, 1, 1, 1])
    """

    peaks: NDArray[np.int64]
    parents: NDArray[np.int64]
    saddles: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        peaks: NDArray[np.int64],
        ones: NDArray[np.int64],
        others: NDArray[np.int64],
        saddles: NDArray[np.int64],
    ) -> MergeTree:
        """Join basins over their saddles, the highest first.

        Parameters
        ----------
        peaks
            Depth of each basin's peak; basins are numbered from 1 on by the place of the peak.
        ones, others, saddles
            Pairs of basins that touch, ones < others, each pair once, and the depth of the saddle.
        """
        order = np.lexsort((others, ones, -saddles))
        order = _spanning(ones[order], others[order], len(peaks), order)
        parents, depths = np.arange(len(peaks)), np.full(len(peaks), -1)
        roots, heights = list(range(len(peaks))), peaks.tolist()
        rows = zip(ones[order].tolist(), others[order].tolist(), saddles[order].tolist(), strict=True)
        for one, other, saddle in rows:
            high, low = _root(roots, one), _root(roots, other)
            if (heights[high], -high) < (heights[low], -low):
                high, low = low, high
            roots[low] = parents[low] = high
            depths[low] = saddle
        return cls(peaks, parents, depths)

    def at(self, ratio: float) -> NDArray[np.int64]:
        """Return the basin that stands for each one's object.

        It is that of the highest peak.
        """
        one = (self.saddles >= 0) & (self.saddles >= ratio * self.peaks)
        stands = np.where(one, self.parents, np.arange(len(self.peaks)))
        while (further := stands[stands]).tobytes() != stands.tobytes():
            stands = further
        return stands


def _spanning(
    ones: NDArray[np.int64], others: NDArray[np.int64], count: int, order: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Keep the pairs that join what was not joined before."""
    ranks = np.arange(1, len(ones) + 1, dtype=np.float64)
    graph: Any = coo_matrix((ranks, (ones, others)), shape=(count, count))
    kept = np.sort(minimum_spanning_tree(graph).data).astype(np.int64) - 1
    return order[kept]


def _root(roots: list[int], at: int) -> int:
    while roots[at] != at:
        roots[at] = roots[roots[at]]
        at = roots[at]
    return at
