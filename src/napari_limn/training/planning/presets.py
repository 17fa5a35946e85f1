"""The networks and features of the presets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_limn.network.spec import PixelSpec, UNetSpec

if TYPE_CHECKING:
    from napari_limn.training.spec import Preset, TrainSpec
    from napari_limn.volume.volume import Volume

# width and depth; measured in benchmarks/, see docs/networks.md
PRESETS = {
    ("fast", 2): (8, 3), ("balanced", 2): (16, 3), ("thorough", 2): (32, 3),
    ("fast", 3): (8, 3), ("balanced", 3): (16, 3), ("thorough", 3): (24, 3),
}  # fmt: skip


# standard deviations of the pixel classifier's Gaussians, by the axes of the network; measured in benchmarks/
SCALES = {2: (0.7, 1.0, 1.6, 3.5, 5.0, 10.0), 3: (0.7, 1.6, 3.5, 5.0)}
_WINDOWS = 3  # of them, the largest, in which intensity is also seen beside its neighbourhood


def choose_network(spec: TrainSpec, image: Volume, classes: int) -> UNetSpec:
    """Choose the network of the spec, or that of its preset.

    It gets the channels of the image.
    """
    base = spec.network
    if base is None:
        base = preset_network(spec.preset, spec.dims, image.axes.spacing, image.grid[1])
        if spec.instant:
            base = replace(base, pixels=pixel_features(spec.dims, image.axes.spacing))
    fields = {name: getattr(base, name) for name in UNetSpec.__dataclass_fields__}
    return UNetSpec(**fields | {"in_channels": image.channels, "out_channels": classes})


def pixel_features(dims: int, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> PixelSpec:
    """Choose the features of the pixel classifier for a voxel size.

    `spacing` is along Z, Y and X; scales are in voxels along X.

    Examples
    --------
    >>> pixel_features(3, (4.0, 1.0, 1.0)).scales[1]
    (0.4, 1.6, 1.6)
    """
    ratios = [round(spacing[2] / step, 3) for step in spacing[3 - dims :]]
    return PixelSpec(
        scales=tuple(tuple(round(s * r, 3) for r in ratios) for s in SCALES[dims]), windows=_WINDOWS
    )


def pooling_factors(spacing: tuple[float, ...], depth: int) -> tuple[tuple[int, ...], ...]:
    """Choose factors of 2 that make voxels about isotropic.

    An axis is pooled when its voxel is at most √2 times the finest voxel of that level.

    Examples
    --------
    >>> pooling_factors((4.0, 1.0, 1.0), 3)
    ((1, 2, 2), (1, 2, 2), (2, 2, 2))
    """
    size = list(spacing)
    factors = []
    for _ in range(depth):
        finest = min(size)
        factor = tuple(2 if s <= 1.42 * finest else 1 for s in size)
        size = [s * f for s, f in zip(size, factor, strict=True)]
        factors.append(factor)
    return tuple(factors)


def preset_network(
    preset: Preset, dims: int, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0), planes: int = 1 << 16
) -> UNetSpec:
    """Make the U-Net of a preset.

    Parameters
    ----------
    dims
        2 over planes, 3 over volumes: these are pooled along z only where voxels have become about isotropic, and
        never below four samples.
    spacing, planes
        Voxel size (Z, Y, X), and extent along z.

    Examples
    --------
    >>> preset_network("balanced", 3, (4.0, 1.0, 1.0)).factors
    ((1, 2, 2), (1, 2, 2), (2, 2, 2))
    """
    width, depth = PRESETS[preset, dims]
    if dims == 2:
        return UNetSpec(width=width, factors=((2, 2),) * depth)
    return UNetSpec(width=width, factors=_within(pooling_factors(spacing, depth), planes))


def _within(factors: tuple[tuple[int, ...], ...], planes: int) -> tuple[tuple[int, ...], ...]:
    """Limit the factors along z to those that leave four samples.

    `planes` is the extent along z.
    """
    limited, left = [], planes
    for z, y, x in factors:
        z = z if left // z >= 4 else 1
        left //= z
        limited.append((z, y, x))
    return tuple(limited)
