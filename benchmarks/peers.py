"""What other tools' tiling costs around the same network, and how far their results are from one pass over the image.

    python benchmarks/peers.py [--ndim 2 3] [--rounds 5] [--dtype float32] [--size 1024 1024] [--json FILE]
    python benchmarks/peers.py --errors [--json FILE]
    python benchmarks/peers.py --json FILE --table FILE.md       (only writes the table)
    … --clock cpu, with OMP_NUM_THREADS=1, on a machine that others use too

Needs `benchmarks/peers-requirements.txt`; a tool that is not installed is skipped with a sentence.

Time: one process, one image in memory, one U-Net (batch norms folded, channels last, oneDNN's kernels), every contender in turn, `--rounds`
rounds after a warm-up on one tile; the medians of the ratios within a round. Every contender ends with a label volume in
uint8; where a tool gives logits, their best class is found by the same comparisons (`best`) for all. The bare forward is
the network alone over the same voxels in tiles without halo, no labels: the floor, not a result. Ours is
`napari_limn.inference.streaming.sweep.Sweep` with the blocks that the planner takes first. Tools get a callable that casts to
`--dtype` and back to float32, since most of them stitch in NumPy; the sweep casts what it reads. "Seen" counts the voxels that
went through the network, per voxel of the image. Not measured: reading, scaling, writing; nobody's are in it.

Tiles that the network sees: 512 × 512, or 64 × 128 × 128, for all, which is what people train on, not any tool's default.
- MONAI: `sliding_window_inference`, overlap 0.25 (its default) and 0.5, gaussian, one window a batch.
- nnU-Net v2: `predict_sliding_window_return_logits`, step 0.5 and gaussian (its defaults), mirroring off (on by default, it would
  cost 4 or 8 times as much). It adds up in float16.
- CAREamics: its `TiledPatching` and `stitch_single_prediction`, overlap 48 or 32; its trainer wants a model of its own.
- torch-em: `predict_with_halo`, halo 32 or (8, 16, 16), without its standardisation of each block, which would change
  what the network sees. It mirrors the border.
- bioimageio.core: `PredictionPipeline.predict_sample_with_fixed_blocking`, the same halos, its PyTorch adapter around the callable.
  It mirrors the border. The model's description is built in memory.

Errors (`--errors`): float32, 2D 1536², 3D 128 × 192². Largest difference of logits, and labels that differ, from one pass of the
same callable over the whole image, everywhere and farther than 96 (3D: 48) voxels from the border, where mirroring does not reach.
The networks are trained for `--seconds` on synthetic cells with noise, so that logits and batch norms are those of
trained networks, and kept in `--cache`.

torch-em and CAREamics import torchvision, without use for what is called here; where that cannot be imported (a CPU build of
PyTorch beside torchvision's CUDA build), an empty stand-in takes its place.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import platform
import re
import sys
import time
from datetime import UTC, datetime
from functools import cache, partial
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.nn import functional as F

import napari_limn as limn
from napari_limn.device import channels_last
from napari_limn.inference.streaming.kernels import kernels_of, packed
from napari_limn.inference.streaming.sweep import Sweep
from napari_limn.network.folding import folded
from napari_limn.network.graph import trace
from napari_limn.network.unet import UNet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Part = tuple[tuple[slice, ...], Tensor]  # where in the image, and the logits (K, …) there
    Contender = Callable[["Seen", Tensor], Iterator[Part]]

SPECS = {
    2: limn.UNetSpec(width=32, factors=((2, 2),) * 4, out_channels=3),
    3: limn.UNetSpec(width=16, factors=((2, 2, 2),) * 3, out_channels=3),
}
EXTENT = {2: (4096, 4096), 3: (128, 512, 512)}
SMALLER = {2: (1536, 1536), 3: (128, 192, 192)}  # for errors: one pass over the image must fit
TILE = {2: (512, 512), 3: (64, 128, 128)}
BLOCK = {2: (256, 512), 3: (32, 128, 128)}
HALO = {2: (32, 32), 3: (8, 16, 16)}
OVERLAP = {2: (48, 48), 3: (32, 32, 32)}
REACH = {2: 96, 3: 48}  # the network's field of view, on its grid
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
PACKAGES = ("napari-limn", "torch", "numpy", "monai", "nnunetv2", "careamics", "torch-em", "bioimageio.core")


# ---- the network and the image ---------------------------------------------------------------------------------------
class Seen(nn.Module):
    """The folded network as a callable from float32 to float32 that counts the voxels it sees."""

    def __init__(self, network: UNet, dtype: torch.dtype) -> None:
        super().__init__()
        self.layout = channels_last(network.spec.ndim)
        self.network = packed(folded(network).to(dtype).to(memory_format=self.layout))  # type: ignore[call-overload]
        self.dtype, self.ndim, self.out_channels = dtype, network.spec.ndim, network.spec.out_channels
        self.voxels = 0

    def ready(self, x: Tensor) -> Tensor:
        return x.to(self.dtype).contiguous(memory_format=self.layout)

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        self.voxels += x[:, 0].numel()
        return self.network(self.ready(x)).float()


def cells(shape: tuple[int, ...], seed: int) -> tuple[Tensor, Tensor]:
    """Blobs with rims in noise, on an uneven ground: image (1, 1, …) float32, classes (1, …) 0 to 2."""
    chance = np.random.default_rng(seed)
    field = gaussian_filter(chance.standard_normal(shape, np.float32), 5, truncate=2)
    field /= field.std()
    classes = (field > 0.3).astype(np.int64) + (field > 0.9)
    image = np.float32([0.0, 1.0, 0.4])[classes] + 0.5 * np.roll(field, 37, -1)
    image += 0.5 * chance.standard_normal(shape, np.float32)
    return torch.from_numpy(image)[None, None], torch.from_numpy(classes)[None]


def trained(ndim: int, seconds: float, cache_folder: Path) -> UNet:
    """The network of a case, trained for so long or taken from the cache."""
    torch.manual_seed(0)
    network = UNet(SPECS[ndim])
    file = cache_folder / f"peers-{ndim}d.pt"
    if file.exists():
        network.load_state_dict(torch.load(file, weights_only=True))
        return network.eval()
    network.to(memory_format=channels_last(ndim))  # type: ignore[call-overload]
    adam = torch.optim.Adam(network.parameters(), lr=2e-3)
    image, classes = cells({2: (1024, 1024), 3: (64, 128, 128)}[ndim], 1)
    size, chance = {2: 96, 3: 32}[ndim], np.random.default_rng(2)
    began, steps, right = time.perf_counter(), 0, 0.0
    while time.perf_counter() - began < seconds:
        corners = [[int(chance.integers(n - size)) for n in image.shape[2:]] for _ in range(2)]
        crops = [(..., *(slice(a, a + size) for a in corner)) for corner in corners]
        truth = torch.cat([classes[crop] for crop in crops])
        logits = network(torch.cat([image[crop] for crop in crops]))
        adam.zero_grad()
        F.cross_entropy(logits, truth).backward()
        adam.step()
        right = 0.9 * right + 0.1 * (logits.argmax(1) == truth).float().mean().item()
        steps += 1
    print(f"trained {ndim}D for {seconds:.0f} s, {steps} steps, {right:.3f} of the voxels right")
    cache_folder.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), file)
    return network.eval()


def best(logits: Tensor) -> Tensor:
    """The class (…) of the largest logit (K, …): comparisons are several times faster than argmax on a CPU."""
    top = logits[0]
    labels = torch.zeros(top.shape, dtype=torch.uint8)
    for k in range(1, len(logits)):
        labels.masked_fill_(logits[k] > top, k)
        top = torch.maximum(top, logits[k])
    return labels


# ---- contenders: each yields parts of the image with their logits ----------------------------------------------------
def whole(net: Seen, logits: Tensor | np.ndarray) -> Iterator[Part]:
    """The logits of the whole image as one part."""
    yield (slice(None),) * net.ndim, torch.as_tensor(logits)


def sweep(net: Seen, image: Tensor) -> Iterator[Part]:
    extent = tuple(image.shape[2:])
    weights = dict(net.network.named_parameters()) | dict(net.network.named_buffers())
    graph, kernels = trace(net.network, 1, (64,) * net.ndim), kernels_of(net.network)

    def read(spans: tuple[tuple[int, int], ...]) -> Tensor:
        part = image[(..., *(slice(*span) for span in spans))]
        net.voxels += part.numel()
        return net.ready(part)

    for spans, logits in Sweep(graph, weights, extent, BLOCK[net.ndim], kernels=kernels).run(read):
        yield tuple(slice(*span) for span in spans), logits[0]


def monai(net: Seen, image: Tensor, overlap: float) -> Iterator[Part]:
    from monai.inferers import sliding_window_inference

    found = sliding_window_inference(image, TILE[net.ndim], 1, net, overlap=overlap, mode="gaussian")
    yield from whole(net, found[0])


def nnunet(net: Seen, image: Tensor) -> Iterator[Part]:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    with contextlib.redirect_stdout(io.StringIO()):  # says that there is no CUDA
        predictor = nnUNetPredictor(
            tile_step_size=0.5,
            use_gaussian=True,
            use_mirroring=False,
            device=torch.device("cpu"),
            allow_tqdm=False,
        )
    predictor.network = net
    predictor.configuration_manager = SimpleNamespace(patch_size=TILE[net.ndim])
    predictor.label_manager = SimpleNamespace(num_segmentation_heads=net.out_channels)
    given = image[0] if net.ndim == 3 else image[0][:, None]
    found = predictor.predict_sliding_window_return_logits(given)
    yield from whole(net, found if net.ndim == 3 else found[:, 0])


def careamics(net: Seen, image: Tensor) -> Iterator[Part]:
    from careamics.dataset.image_region_data import ImageRegionData
    from careamics.dataset.patching.tiled_patching import TiledPatching
    from careamics.lightning.prediction.stitch_prediction import stitch_single_prediction

    shape, tile = tuple(image.shape), TILE[net.ndim]
    axes = "SCYX" if net.ndim == 2 else "SCZYX"
    tiles = []
    for spec in TiledPatching([shape], tile, OVERLAP[net.ndim]).tile_specs:
        part = image[(..., *(slice(a, a + t) for a, t in zip(spec["coords"], tile, strict=True)))]
        logits = net(part)[0].numpy()
        tiles.append(ImageRegionData(logits, "array", shape, "float32", axes, axes, shape, spec, {}))
    yield from whole(net, stitch_single_prediction(tiles)[0])


def torch_em(net: Seen, image: Tensor) -> Iterator[Part]:
    from torch_em.util.prediction import predict_with_halo

    halo = HALO[net.ndim]
    inner = tuple(t - 2 * h for t, h in zip(TILE[net.ndim], halo, strict=True))
    given = image[0, 0].numpy()
    yield from whole(
        net, predict_with_halo(given, net, ["cpu"], inner, halo, preprocess=None, disable_tqdm=True)
    )


def bioimageio(net: Seen, image: Tensor) -> Iterator[Part]:
    from bioimageio.core import PredictionPipeline, Sample
    from bioimageio.core import Tensor as Named
    from bioimageio.core.axis import AxisId
    from bioimageio.core.backends.pytorch_backend import PytorchModelAdapter
    from loguru import logger

    class Adapter(PytorchModelAdapter):
        """Theirs, around a module that is in memory already."""

        def __init__(self, description: Any) -> None:
            self._mode = "eval"
            super(PytorchModelAdapter, self).__init__(description, ["cpu"])

        def _init_model_on_device(self, device: torch.device) -> nn.Module:
            return net

    logger.disable("bioimageio")
    description = _description(net.ndim)
    pipeline = PredictionPipeline(
        name="U-Net",
        model_description=description,
        preprocessing=[],
        postprocessing=[],
        model_adapter=Adapter(description),
    )
    names = tuple(
        AxisId(name) for name in ("batch", "channel", "z", "y", "x") if name != "z" or net.ndim == 3
    )
    sample = Sample(members={pipeline.input_ids[0]: Named(image.numpy(), names)}, stat={}, id=None)
    shape = dict(zip(names, (1, 1, *TILE[net.ndim]), strict=True))
    with contextlib.redirect_stderr(io.StringIO()):  # a progress bar
        found = pipeline.predict_sample_with_fixed_blocking(sample, {pipeline.input_ids[0]: shape})
    yield from whole(net, found.members[pipeline.output_ids[0]].to_numpy()[0])


@cache
def _description(ndim: int) -> Any:
    """What bioimageio.core must know of the model: axes and the halo."""
    from bioimageio.spec.model import v0_5 as spec

    names = "zyx"[-ndim:]
    size = spec.ParameterizedSize(min=16, step=16)
    given = [spec.SpaceInputAxis(id=spec.AxisId(name), size=size) for name in names]
    found = [
        spec.SpaceOutputAxisWithHalo(
            id=spec.AxisId(name),
            halo=halo,
            size=spec.SizeReference(tensor_id=spec.TensorId("image"), axis_id=spec.AxisId(name)),
        )
        for name, halo in zip(names, HALO[ndim], strict=True)
    ]

    def channels(count: int) -> Any:
        return spec.ChannelAxis(channel_names=[spec.Identifier(f"c{i}") for i in range(count)])

    # made without validation, which would ask for authors, licence and test files
    image = spec.InputTensorDescr.model_construct(
        id=spec.TensorId("image"), axes=[spec.BatchAxis(), channels(1), *given]
    )
    logits = spec.OutputTensorDescr.model_construct(
        id=spec.TensorId("logits"), axes=[spec.BatchAxis(), channels(3), *found]
    )
    return spec.ModelDescr.model_construct(name="U-Net", inputs=[image], outputs=[logits])


PEERS: dict[str, tuple[str, Contender]] = {
    "MONAI, overlap 0.25": ("monai.inferers", partial(monai, overlap=0.25)),
    "MONAI, overlap 0.5": ("monai.inferers", partial(monai, overlap=0.5)),
    "nnU-Net v2": ("nnunetv2.inference.predict_from_raw_data", nnunet),
    "CAREamics": ("careamics.lightning.prediction.stitch_prediction", careamics),
    "torch-em": ("torch_em.util.prediction", torch_em),
    "bioimageio.core": ("bioimageio.core", bioimageio),
}


def contenders() -> dict[str, Contender]:
    """Our sweep and every tool that is there."""
    _torchvision_or_stand_in()
    found: dict[str, Contender] = {"napari-limn": sweep}
    for name, (module, run) in PEERS.items():
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                importlib.import_module(module)
            found[name] = run
        except (ImportError, RuntimeError, AttributeError) as error:
            print(f"{name} is skipped: {module} cannot be imported ({str(error).splitlines()[0]}).")
    return found


def _torchvision_or_stand_in() -> None:
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):
        for gone in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[gone]
        for name in ("", ".utils", ".transforms", ".transforms.functional", ".models", ".ops"):
            stand_in = MagicMock(
                __spec__=ModuleSpec(f"torchvision{name}", None), __path__=[], __version__="0"
            )
            sys.modules[f"torchvision{name}"] = stand_in
        print("torchvision cannot be imported; an empty stand-in takes its place, nothing here uses it.")


# ---- time ------------------------------------------------------------------------------------------------------------
@torch.inference_mode()
def bare(net: Seen, image: Tensor) -> None:
    """The network alone, tile by tile without halo; the image has its precision and layout already."""
    tile = TILE[net.ndim]
    for corner in product(*(range(0, n, t) for n, t in zip(image.shape[2:], tile, strict=True))):
        part = image[(..., *(slice(a, a + t) for a, t in zip(corner, tile, strict=True)))]
        net.network(part.contiguous(memory_format=net.layout))
        net.voxels += part.numel()


@torch.inference_mode()
def labelled(run: Contender, net: Seen, image: Tensor) -> Tensor:
    labels = torch.zeros(tuple(image.shape[2:]), dtype=torch.uint8)
    for where, logits in run(net, image):
        labels[where] = best(logits)
    return labels


def compare(
    net: Seen, extent: tuple[int, ...], rounds: int, clock: Callable[[], float]
) -> list[dict[str, Any]]:
    """Time of every contender, in turn."""
    image, _ = cells(extent, 0)
    corner = image[(..., *(slice(t) for t in TILE[net.ndim]))].clone()
    cast = net.ready(image)
    runs: dict[str, Callable[[], Any]] = {"bare forward": partial(bare, net, cast)}
    bare(net, net.ready(corner))
    for name, run in contenders().items():
        labelled(run, net, corner)
        runs[name] = partial(labelled, run, net, image)
    took: dict[str, list[float]] = {name: [] for name in runs}
    seen = {}
    for _ in range(rounds):
        for name, run in runs.items():
            net.voxels, began = 0, clock()
            run()
            took[name].append(clock() - began)
            seen[name] = net.voxels / image.numel()
    return [
        {
            "name": name,
            "ns": round(1e9 * median(each) / image.numel(), 1),
            "bare": _ratio(each, took["bare forward"]),
            "sweep": _ratio(each, took["napari-limn"]),
            "seen": round(seen[name], 3),
            "seconds": [round(s, 3) for s in each],
        }
        for name, each in took.items()
    ]


def _ratio(each: list[float], other: list[float]) -> float:
    return round(median(a / b for a, b in zip(each, other, strict=True)), 3)


# ---- errors ----------------------------------------------------------------------------------------------------------
@torch.inference_mode()
def deviate(net: Seen, extent: tuple[int, ...]) -> list[dict[str, Any]]:
    """Differences of every contender from one pass over the whole image."""
    image, classes = cells(extent, 0)
    one_pass = net(image)[0]
    expected = best(one_pass)
    right = (expected == classes[0]).float().mean().item()
    print(f"one pass: logits {one_pass.min():.1f} to {one_pass.max():.1f}, {right:.3f} of the labels right")
    inside = tuple(slice(REACH[net.ndim], n - REACH[net.ndim]) for n in extent)
    rows = []
    for name, run in contenders().items():
        net.voxels, off = 0, torch.zeros(extent)
        labels = torch.zeros(extent, dtype=torch.uint8)
        for where, logits in run(net, image):
            off[where] = (logits.float() - one_pass[(slice(None), *where)]).abs().amax(0)
            labels[where] = best(logits)
        other = labels != expected
        rows.append({
            "name": name,
            "largest": off.max().item(),
            "largest_inside": off[inside].max().item() if off[inside].numel() else None,
            "labels": int(other.sum()),
            "share": other.sum().item() / other.numel(),
            "labels_inside": int(other[inside].sum()),
            "seen": round(net.voxels / image.numel(), 3),
        })  # fmt: skip
    return rows


# ---- results ---------------------------------------------------------------------------------------------------------
COLUMNS = {
    "time": {
        "contender": "{name}", "ns a voxel": "{ns:.0f}", "× bare forward": "{bare:.2f}", "× our sweep": "{sweep:.2f}",
        "voxels seen a voxel": "{seen:.2f}",
    },
    "errors": {
        "contender": "{name}", "largest difference of logits": "{largest:.1e}", "away from the border": "{largest_inside:.1e}",
        "labels that differ": "{labels}", "share": "{share:.1e}", "away from the border, labels": "{labels_inside}",
        "voxels seen a voxel": "{seen:.2f}",
    },
}  # fmt: skip


def markdown(run: dict[str, Any]) -> str:
    """One run as a heading and a Markdown table."""
    columns = COLUMNS[run["mode"]]
    size = " × ".join(map(str, run["extent"]))
    how = f"{run['clock']} time, medians of {run['rounds']}" if run["mode"] == "time" else "against one pass"
    lines = [
        f"**{run['ndim']}D, {size}, {run['dtype']}, {how}** ({run['machine']['cpu']}, {run['machine']['threads']} threads, "
        f"{run['date']})",
        "",
        "| " + " | ".join(columns) + " |",
        "|---" * len(columns) + "|",
    ]
    for row in run["rows"]:
        shown = {key: float("nan") if value is None else value for key, value in row.items()}
        lines.append("| " + " | ".join(cell.format(**shown) for cell in columns.values()) + " |")
    versions = ", ".join(f"{name} {found}" for name, found in run["versions"].items())
    return "\n".join([*lines, "", f"Versions: {versions}.", ""])


def keep(file: Path, run: dict[str, Any]) -> None:
    """Add a run to the file, in the place of an earlier one of the same case on the same machine."""

    def case(of: dict[str, Any]) -> tuple[Any, ...]:
        return (
            of["mode"],
            of["ndim"],
            tuple(of["extent"]),
            of["dtype"],
            of["clock"],
            tuple(of["machine"].items()),
        )

    runs = json.loads(file.read_text()) if file.exists() else []
    runs = [other for other in runs if case(other) != case(run)]
    file.write_text(json.dumps([*runs, run], indent=1) + "\n")


def machine() -> dict[str, Any]:
    with contextlib.suppress(OSError):
        if found := re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text()):
            return {"cpu": found[1], "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    return {"cpu": platform.processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ndim", type=int, nargs="+", choices=(2, 3), default=[2, 3])
    parser.add_argument(
        "--size", type=int, nargs="+", help="extent of the image, 2 or 3 numbers; chooses --ndim"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="cpu: time of all threads, for a machine that others use too",
    )
    parser.add_argument(
        "--errors", action="store_true", help="differences from one pass instead of times, float32"
    )
    parser.add_argument(
        "--seconds", type=float, default=60, help="of training, if there is nothing in the cache"
    )
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help="folder of the trained networks")
    parser.add_argument("--json", type=Path, help="file that results are added to")
    parser.add_argument(
        "--table", type=Path, help="write the results of --json as Markdown, and do nothing else"
    )
    args = parser.parse_args()
    if args.table and not args.json:
        parser.error("--table needs --json, the file to take results from")
    if args.size:
        args.ndim = [len(args.size)]
        if len(args.size) not in TILE:
            parser.error(f"found --size {args.size}, expected 2 or 3 numbers")
        steps = TILE[len(args.size)]
        if any(n < t or n % 16 for n, t in zip(args.size, steps, strict=True)):
            parser.error(f"found --size {args.size}, expected multiples of 16 of at least a tile, {steps}")
    return args


def main() -> None:
    args = arguments()
    if args.table:
        args.table.write_text("\n".join(map(markdown, json.loads(args.json.read_text()))))
        return
    for ndim in args.ndim:
        extent = tuple(args.size or (SMALLER if args.errors else EXTENT)[ndim])
        dtype = "float32" if args.errors else args.dtype
        net = Seen(trained(ndim, args.seconds, args.cache), getattr(torch, dtype)).eval()
        rows = deviate(net, extent) if args.errors else compare(net, extent, args.rounds, CLOCKS[args.clock])
        run = {
            "mode": "errors" if args.errors else "time", "ndim": ndim, "extent": extent, "tile": TILE[ndim],
            "dtype": dtype, "rounds": args.rounds, "clock": args.clock, "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(), "versions": versions(), "rows": rows,
        }  # fmt: skip
        print(markdown(run))
        if args.json:
            keep(args.json, run)


if __name__ == "__main__":
    main()
