"""One channel of several, read alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_limn.volume.volume import Volume


def channel_of(volume: Volume, channel: int) -> Volume:
    """Return one channel of a volume, so that others are not read."""
    if "C" not in volume.axes.names:
        return volume
    return Volume(_OneChannel(volume, channel), volume.axes.without("C"), volume.name)


class _OneChannel:
    """The array of one channel, read lazily."""

    def __init__(self, volume: Volume, channel: int) -> None:
        self._data, self._axis, self._channel = volume.data, volume.axes.names.index("C"), channel
        self.shape = tuple(n for a, n in enumerate(volume.data.shape) if a != self._axis)
        self.dtype = volume.dtype

    def __getitem__(self, index: Any) -> Any:
        at = list(index)
        at.insert(self._axis, slice(self._channel, self._channel + 1))
        return np.squeeze(np.asarray(self._data[tuple(at)]), axis=self._axis)
