"""A model: network, weights and all else, in one file."""

from __future__ import annotations

import hashlib
import io
import json
import os  # noqa: TC003 checked evaluates annotations
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from napari_limn.annotation.classes import Classes  # noqa: TC001 from_json evaluates annotations
from napari_limn.arguments import check_record, checked
from napari_limn.errors import LimnError
from napari_limn.files.durable import disk_faults
from napari_limn.files.paths import refuse_no_file, refuse_unportable
from napari_limn.files.working import whole_file
from napari_limn.network.spec import UNetSpec  # noqa: TC001 from_json evaluates annotations
from napari_limn.network.unet import UNet, with_weights
from napari_limn.specs import check_fields, from_json, to_json
from napari_limn.version import __version__
from napari_limn.volume.axes import CENTIMETRES
from napari_limn.volume.foreign import foreign
from napari_limn.volume.intensity import IntensitySpec

if TYPE_CHECKING:
    from napari_limn.annotation.legend import Legend
    from napari_limn.volume.volume import Volume

FORMAT = "napari-limn model"
FORMAT_VERSION = 1
MODEL_SUFFIX = ".limn"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """All of a model but its weights.

    Parameters
    ----------
    network, classes, intensity
        The network, what its output channels mean, and how intensities are scaled.
    spacing
        Voxel size (Z, Y, X) of the first training image.
    unit
        Unit of `spacing`.
    steps, seconds
        Training so far, fine-tuning included.
    score
        Mean IoU on held-out strokes, 0–1; None where none could be held out.
    version
        Version of napari-limn that trained it.
    """

    network: UNetSpec
    classes: Classes
    intensity: IntensitySpec = IntensitySpec()
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    unit: str = "pixel"
    steps: int = 0
    seconds: float = 0.0
    score: float | None = None
    version: str = __version__

    def __post_init__(self) -> None:
        check_fields(self)
        if self.network.out_channels != self.classes.count:
            raise LimnError(
                f"found a network of {self.network.out_channels} outputs for {self.classes.count} classes, "
                "expected as many; the specification does not fit together."
            )

    def spacing_warnings(self, volume: Volume) -> list[str]:
        """Say that voxels of an image have another size.

        Another than those of training; one sentence each. Only lengths are compared, in any unit.
        """
        unit, spacing = volume.axes.units[volume.axes.names.index("X")], volume.axes.spacing
        if unit not in CENTIMETRES or self.unit not in CENTIMETRES:
            return []
        warnings = []
        same = CENTIMETRES[self.unit] / CENTIMETRES[unit]
        for axis, what in ((2, "pixels are {} wide"), (0, "planes are {} apart")):
            ratio = spacing[axis] / (own := self.spacing[axis] * same)
            if (axis == 2 or self.network.ndim == 3) and not 2 / 3 < ratio < 1.5:
                size = what.format(f"{spacing[axis]:.3g} {unit}")
                looks = "smaller" if ratio > 1 else "larger"
                warnings.append(
                    f"{volume.name}: {size}, the model was trained at {own:.3g}; structures look {looks} to it."
                )
        return warnings


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A network with its weights and its specification.

    Examples
    --------
    >>> from napari_limn.network.spec import UNetSpec
    >>> spec = ModelSpec(network=UNetSpec(width=4), classes=Classes((1, 2)))
    >>> Model(spec, UNet(spec.network)).spec.classes.values
    (1, 2)
    """

    spec: ModelSpec
    network: UNet

    def __post_init__(self) -> None:
        check_record(self)

    def __repr__(self) -> str:
        net = self.spec.network
        return f"Model({net.ndim}D U-Net, width {net.width}, depth {net.depth}, classes {self.spec.classes.values})"

    @checked
    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model to one file, completely or not at all.

        The file is a ``torch.save`` archive of plain values and tensors, so ``weights_only=True`` loads it.

        Raises
        ------
        LimnError
            If the disk is full, read-only or not permitted; and for a name that not every system can store.
        """
        path = Path(path)
        refuse_unportable(path)
        weights = {name: tensor.cpu() for name, tensor in self.network.state_dict().items()}
        content = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "spec": to_json(self.spec),
            "weights": weights,
            "sha256": _digest(weights, to_json(self.spec)),
        }
        archive = io.BytesIO()  # torch reports a full disk as a fault of its own
        torch.save(content, archive)
        with disk_faults(path, "the model was not saved"), whole_file(path) as file:
            file.write(archive.getbuffer())
        return path

    @staticmethod
    @checked
    def load(path: str | os.PathLike[str]) -> Model:
        """Read a model file, on the CPU and in eval mode.

        Raises
        ------
        LimnError
            If it is no model file, is cut off or damaged, or comes from a newer version.
        """
        path = Path(path)
        content = _read(path)
        if content.get("format_version") != FORMAT_VERSION:
            raise LimnError(
                f"{path.name}: found model format {content.get('format_version')!r}, expected {FORMAT_VERSION}; "
                "update napari-limn."
            )
        weights, described = content.get("weights"), content.get("spec")
        if weights is None or _digest(weights, described) != content.get("sha256"):
            raise LimnError(
                f"{path.name}: the weights or their description do not match the checksum, the file is damaged; "
                "copy it again."
            )
        spec = from_json(ModelSpec, described)
        if broken := [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]:
            raise LimnError(
                f"{path.name}: found weights that are no finite numbers ({broken[0]} and {len(broken) - 1} more), expected numbers; "
                "the training went wrong: train the model again."
            )
        try:
            network = with_weights(spec.network, weights)
        except RuntimeError as error:
            raise LimnError(
                f"{path.name}: the weights do not fit the network that the file describes."
            ) from error
        return Model(spec, network.eval())

    @property
    def digest(self) -> str:
        """Give the SHA-256 of the spec and the weights."""
        return _digest(self.network.state_dict(), to_json(self.spec)) or ""

    def pruned(self, depth: int) -> Model:
        """Cut a nested, supervised network down to a smaller depth.

        The model is as if it had been trained so. Each depth has a head of its own, which only needs the nodes up to there
        (arXiv:1807.10165, section 3.3).

        Raises
        ------
        LimnError
            If the network was trained without deep supervision, or is not that deep.
        """
        spec = self.spec.network
        if depth > spec.depth:
            raise LimnError(f"found a network of depth {spec.depth}, which cannot be pruned to {depth}.")
        network = replace(spec, pruned=depth)
        state = self.network.state_dict()
        heads = [*(f"side.{i}" for i in range(spec.depth - 1)), "head"]
        for kind in ("weight", "bias"):
            state[f"head.{kind}"] = state[f"{heads[depth - 1]}.{kind}"]
        with torch.device("meta"):
            names = UNet(network).state_dict()
        smaller = with_weights(network, {name: state[name] for name in names})
        return Model(replace(self.spec, network=network), smaller.train(self.network.training))

    def with_legend(self, legend: Legend) -> Model:
        """Give the model with the names and colours of a legend."""
        classes = self.spec.classes.with_legend(legend.names, legend.colors)
        return (
            self if classes == self.spec.classes else replace(self, spec=replace(self.spec, classes=classes))
        )

    def copy(self) -> Model:
        """Make a model whose weights are its own."""
        return Model(self.spec, deepcopy(self.network))


def _read(path: Path) -> dict[str, Any]:
    """Read the content of a model file.

    Or say in one sentence what it is instead.
    """
    if refuse_no_file(path).is_dir():
        raise LimnError(
            f"{path}: found a folder, expected a {MODEL_SUFFIX} model file; choose the file itself."
        )
    if not path.is_file():
        raise LimnError(f"{path}: there is no such model file; check the spelling.")
    expected = f"expected a {MODEL_SUFFIX} model file written by napari-limn"
    with foreign(
        lambda _: (
            f"{path.name}: found a file that is cut off or of another kind, {expected}; copy it again from its source."
        ),
        path.name,
    ):
        content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise LimnError(f"{path.name}: found a PyTorch file of another program, {expected}.")
    return content


def _digest(weights: Any, spec: Any) -> str | None:
    """Compute the SHA-256 of spec and weights.

    Of names, types and bytes of the weights. None if these are no tensors by name.
    """
    if not isinstance(weights, dict) or not all(isinstance(t, torch.Tensor) for t in weights.values()):
        return None
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True, default=repr).encode())
    for name in sorted(weights, key=str):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
