"""A picture of a network: the "U" for one tile.

With the channels and extents that it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from napari_limn.errors import LimnError
from napari_limn.files.durable import disk_faults
from napari_limn.files.working import whole_file
from napari_limn.training.spec import CONTEXT

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_limn.network.spec import UNetSpec

_Node = tuple[int, int]
_Point = tuple[float, float]

_MARGIN, _LEGEND = 14, 20  # pixels: around, a line of text
_LIGHT = {"paper": "#ffffff", "ink": "#222222", "faint": "#999999"}
_DARK = {"paper": "#262930", "ink": "#f0f1f2", "faint": "#8a8f98"}  # of napari
_ENCODER, _DECODER, _ENDS = "#4a86c5", "#e0903c", "#9a9a9a"


def stage_sizes(spec: UNetSpec, size: tuple[int, ...]) -> dict[_Node, tuple[int, ...]]:
    """Compute the extent of every node for an input of `size`.

    A node is (level, column); the extent is that of its output.

    Raises
    ------
    LimnError
        If the network does not take that extent.

    Examples
    --------
    >>> from napari_limn.network.spec import UNetSpec
    >>> stage_sizes(UNetSpec(padding="valid", norm="none"), (572, 572))[4, 0]
    (28, 28)
    """
    sizes: dict[_Node, tuple[int, ...]] = {}
    if len(size) != spec.ndim:
        raise LimnError(f"found a tile of {size}, expected {spec.ndim} extents for a {spec.ndim}D network.")
    level_size = size
    for level in range(spec.depth + 1):
        sizes[level, 0] = level_size = _convolved(spec, level, level_size)
        if level < spec.depth:
            factors = spec.factors[level]
            uneven = any(n % f for n, f in zip(level_size, factors, strict=True))
            if min(level_size) < 1 or (uneven and spec.padding == "valid"):
                raise LimnError(
                    f"found an input of {size}, which a network without padding does not divide evenly."
                )
            level_size = tuple(-(-n // f) for n, f in zip(level_size, factors, strict=True))
    for level, column in spec.nodes():
        margin = [f // 2 if spec.up == "interpolate" else 0 for f in spec.factors[level]]
        below = zip(sizes[spec.below(level, column)], spec.factors[level], margin, strict=True)
        up = tuple(n * f - 2 * m for n, f, m in below)
        sizes[level, column] = sizes[level, 0] if spec.padding == "same" else _convolved(spec, level, up)
    if min(sizes[0, spec.depth]) < 1:
        raise LimnError(f"found an input of {size}, of which a network without padding leaves nothing.")
    return sizes


def usual_tile(spec: UNetSpec) -> tuple[int, ...]:
    """Return the extent of a tile as in scoring.

    160 pixels a side, 64 voxels in 3D, or as little more as the network takes.
    """
    return tuple(_legal(spec, axis, CONTEXT[spec.ndim]) for axis in range(spec.ndim))


def _legal(spec: UNetSpec, axis: int, least: int) -> int:
    """Find the smallest extent from `least` on that works.

    The poolings divide it and unpadded convolutions leave something of it.
    """
    step = spec.stride(spec.depth, axis)
    for n in range(least, least * 16 + step):
        size = n
        for level in range(spec.depth):
            size -= 2 * (spec.kernel(level)[axis] - 1) if spec.padding == "valid" else 0
            if size % (factor := spec.factors[level][axis]):
                break
            size //= factor
        else:
            return n
    raise LimnError(f"found no extent of {least} or more that factors of {spec.factors} divide.")


def _convolved(spec: UNetSpec, level: int, size: tuple[int, ...]) -> tuple[int, ...]:
    """Return the extent behind the two convolutions of a level."""
    cut = spec.kernel(level) if spec.padding == "valid" else (1,) * spec.ndim
    return tuple(n - 2 * (k - 1) for n, k in zip(size, cut, strict=True))


def draw_network(
    spec: UNetSpec, size: tuple[int, ...], *, dark: bool = False, compact: bool = False
) -> NDArray[np.uint8]:
    """Draw a network.

    Parameters
    ----------
    spec
        The network.
    size
        Extent ([Z,] Y, X) of the tile that it is drawn for.
    dark
        Whether for a dark window.
    compact
        Whether to be shown small: larger letters, of extents only X, and no legend.

    Returns
    -------
    array of shape (height, width, 3)

    Raises
    ------
    LimnError
        If the network does not take a tile of that extent.
    """
    return np.asarray(_Drawing(spec, size, _DARK if dark else _LIGHT, compact=compact).image)


def save_figure(spec: UNetSpec, size: tuple[int, ...], path: Path, *, overwrite: bool = True) -> None:
    """Write the picture of a network to a PNG file.

    Raises
    ------
    LimnError
        For another kind of file, for one that is there if `overwrite` is not set, or as :func:`draw_network`.
    """
    if path.suffix.lower() != ".png":
        raise LimnError(f"{path}: found suffix {path.suffix or '(none)'!r}, expected .png for a picture.")
    picture = Image.fromarray(draw_network(spec, size))
    with disk_faults(path, "the picture was not saved"), whole_file(path, replace=overwrite) as file:
        picture.save(file, "PNG")


@dataclass(frozen=True, slots=True)
class _Box:
    """Where a node is drawn."""

    x: float
    y: float
    width: float
    height: float


class _Drawing:
    """The picture while it is drawn.

    Every node of the triangular grid at x = level + 2 × column.
    """

    def __init__(
        self, spec: UNetSpec, size: tuple[int, ...], colors: dict[str, str], *, compact: bool
    ) -> None:
        self.spec, self.size, self.colors, self.compact = spec, size, colors, compact
        self.slot, self.row = (46, 118) if compact else (86, 104)  # pixels between columns and between levels
        self.sizes = stage_sizes(spec, size)
        self.legend = [] if compact else legend(spec)
        width = self.slot * (2 * spec.depth + 3) + 2 * _MARGIN
        height = self.row * (spec.depth + 1) + _LEGEND * len(self.legend) + 3 * _MARGIN + 20
        self.image = Image.new("RGB", (width, height), colors["paper"])
        self.draw = ImageDraw.Draw(self.image)
        self.font, self.small = ImageFont.load_default(14), ImageFont.load_default(21 if compact else 11)
        nodes = [(level, 0) for level in range(spec.depth + 1)] + list(spec.nodes())
        self.boxes = {node: self._place(node) for node in nodes}
        for node in spec.nodes():
            self._connect(node)
        for level in range(spec.depth):
            self._arrow(self.boxes[level, 0], self.boxes[level + 1, 0], colors["ink"])
        self._ends()
        for node, box in self.boxes.items():
            color = _ENCODER if node[1] == 0 else _DECODER
            self._box(box, color, str(spec.channels(node[0])), self.sizes[node])
        for i, line in enumerate(self.legend):
            y = height - _MARGIN - _LEGEND * (len(self.legend) - i)
            self.draw.text((_MARGIN, y), line, self.colors["ink"], self.font)

    def _place(self, node: _Node) -> _Box:
        level, column = node
        share = (self.sizes[node][-1] / max(1, self.size[-1])) ** 0.5
        return _Box(
            x=_MARGIN + self.slot * (level + 2 * column + 1.5),
            y=_MARGIN + 20 + self.row * (level + 0.5),
            width=6 + (1.5 if self.compact else 2.2) * self.spec.channels(level) ** 0.5,
            height=max(8, 52 * share),
        )

    def _box(self, box: _Box, color: str, channels: str, size: tuple[int, ...]) -> None:
        left, top = box.x - box.width / 2, box.y - box.height / 2
        self.draw.rectangle((left, top, left + box.width, top + box.height), fill=color)
        self.draw.text((box.x, top - 2), channels, self.colors["ink"], self.small, anchor="md")
        under = "x".join(map(str, size[-1:] if self.compact else size))
        self.draw.text((box.x, top + box.height + 2), under, self.colors["faint"], self.small, anchor="ma")

    def _connect(self, node: _Node) -> None:
        """Draw lines into a decoder node: from below, and skips."""
        box = self.boxes[node]
        self._arrow(self.boxes[self.spec.below(*node)], box, self.colors["ink"])
        for skip in self.spec.skips(*node):
            start = self.boxes[skip]
            a, b = (start.x + start.width / 2, start.y), (box.x - box.width / 2, box.y)
            apart = node[1] - skip[1] - 1 if self.spec.skip == "nested" else 0
            middle = (a[0] + b[0]) / 2, a[1] - 56 * apart**0.5  # above the nodes between
            self.draw.line(_curve(a, middle, b), self.colors["faint"], 2)
            if self.spec.skip == "attention":
                x, y = middle
                self.draw.ellipse((x - 8, y - 8, x + 8, y + 8), self.colors["paper"], self.colors["ink"], 2)
                self.draw.text((x, y), "x", self.colors["ink"], self.font, anchor="mm")

    def _ends(self) -> None:
        """Draw the input and the outputs.

        The output of the last node, or of each that has a head.
        """
        spec = self.spec
        shown = [(self.boxes[0, 0], -1, spec.in_channels, self.size)]
        shown.append((self.boxes[0, spec.depth], 1, spec.out_channels, self.sizes[0, spec.depth]))
        for node, side, channels, size in shown:
            box = _Box(
                node.x + side * self.slot, node.y, 6.0, max(8.0, 52 * (size[-1] / self.size[-1]) ** 0.5)
            )
            self._arrow(*((node, box) if side > 0 else (box, node)), self.colors["ink"])
            self._box(box, _ENDS, str(channels), size)

    def _arrow(self, start: _Box, end: _Box, color: str) -> None:
        """Draw an arrow from the rim of one box to another."""
        a, b = np.array((start.x, start.y)), np.array((end.x, end.y))
        along = (b - a) / np.hypot(*(b - a))
        a, b = a + along * self._rim(start, along), b - along * self._rim(end, along)
        across = np.array((-along[1], along[0]))
        self.draw.line([tuple(a), tuple(b)], color, 2)
        self.draw.polygon(
            [tuple(b), tuple(b - 8 * along + 4 * across), tuple(b - 8 * along - 4 * across)], color
        )

    def _rim(self, box: _Box, along: NDArray[np.float64]) -> float:
        """Return the distance from a box's centre to its rim.

        With room for the text around it.
        """
        x, y = np.abs(along)
        aside, above = max(box.width / 2 + 4, 0.32 * self.slot), box.height / 2 + (30 if self.compact else 17)
        return float(min(aside / max(x, 1e-9), above / max(y, 1e-9)))


def _curve(a: _Point, control: _Point, b: _Point) -> list[_Point]:
    """Points of a quadratic Bézier curve."""
    t = np.linspace(0, 1, 33)[:, None]
    points = (1 - t) ** 2 * np.array(a) + 2 * t * (1 - t) * np.array(control) + t**2 * np.array(b)
    return [(float(x), float(y)) for x, y in points]


_NORMS = {
    "none": "", "batch": ", batch norm", "channel": ", layer norm over channels", "rms": ", RMS norm over channels",
    "group": ", group norm", "instance": ", instance norm",
}  # fmt: skip


def legend(spec: UNetSpec) -> list[str]:
    """Explain the parts of the picture, one line each."""
    kernel = "x".join("3" * spec.ndim)
    pool = " or ".join(dict.fromkeys("x".join(map(str, f)) for f in spec.factors))
    block = f"box: two {kernel} convolutions{_NORMS[spec.norm]}, ReLU"
    block += ", with a shortcut" if spec.block == "residual" else ""
    block += "; no padding" if spec.padding == "valid" else ""
    down = {"max": "max pooling", "strided": "strided convolution", "max_1x1": "max pooling, 1x1 convolution"}
    up = {"transposed": "transposed convolution", "interpolate": "1x1 convolution, interpolation"}
    skip = {"concat": "copied", "attention": "copied through an attention gate", "nested": "copied, nested"}
    ends = f"{'sigmoid' if spec.head == 'sigmoid' else 'softmax'} over {spec.out_channels} classes"
    ends += ", one head on every node of the first row" if spec.supervised else ""
    return [
        block,
        f"down: {pool} {down[spec.down]}; up: {up[spec.up]}",
        f"across: {skip[spec.skip]}{' and cut' if spec.padding == 'valid' else ''}; out: 1x1 convolution, {ends}",
    ]
