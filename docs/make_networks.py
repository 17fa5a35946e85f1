"""Write docs/networks.md: the choices from the code, their measurements from benchmarks/results/networks.json.

python docs/make_networks.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from napari_limn.network.footprint import footprint
from napari_limn.network.graph import graph_of
from napari_limn.network.spec import CHOICES, UNetSpec
from napari_limn.network.unet import UNet
from napari_limn.training.planning.presets import PRESETS, preset_network

PAGE = Path(__file__).with_name("networks.md")
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "networks.json"

WORDS = {
    ("padding", "same"): "padded 3×3 convolutions: labels for every pixel of an image of any size",
    ("padding", "valid"): "the original: unpadded convolutions, the image mirrored beyond its border",
    ("norm", "none"): "as the original",
    ("norm", "batch"): "statistics fixed after training, folded into the convolutions for prediction",
    ("norm", "channel"): "layer norm over the channels of each voxel by itself",
    ("norm", "rms"): "by the root mean square over the channels of each voxel",
    ("norm", "group"): "over groups of channels and the whole tile",
    ("norm", "instance"): "over the whole tile, each channel by itself",
    ("down", "max"): "2×2 max pooling",
    ("down", "strided"): "2×2 convolution of stride 2",
    ("down", "max_1x1"): "2×2 max pooling, then a 1×1 convolution",
    ("up", "transposed"): "2×2 transposed convolution",
    ("up", "interpolate"): "1×1 convolution, then linear interpolation",
    ("skip", "concat"): "copied (and cut) beside what comes up",
    ("skip", "attention"): "through additive attention gates (Attention U-Net)",
    ("skip", "nested"): "U-Net++; with `supervised`, every depth has a head and can be pruned to",
    ("block", "plain"): "two convolutions, each with norm and ReLU",
    ("block", "residual"): "the same with a shortcut past them",
    ("head", "softmax"): "one score a class",
    ("head", "sigmoid"): "one score for two classes; the same functions as softmax",
}

TEXT = """# Networks

*Written by `docs/make_networks.py` from the code and from `benchmarks/results/networks.json`; do not edit.*

Most users never choose: the preset does. To choose a network yourself, put a few words into a spec,

```json
{{"seconds": 120, "loss": "cross_entropy+dice", "network": {{"skip": "attention", "norm": "batch", "width": 32}}}}
```

and train with `napari-limn train … --spec FILE.json`, or pass `limn.TrainSpec(network=limn.UNetSpec(skip="attention"))`
in Python. Everything below can be combined. A network named here trains by itself, without first answer and soft targets
([learning.md](learning.md)), and has depth 4 unless `factors` says otherwise; with few strokes a preset is mostly better. All tables below are of
networks by themselves. `napari-limn info MODEL.limn --figure net.png` draws the result.

## The family

Figures are those of a 2D network of width 16 and depth 4 with that one choice: its weights, and the context in pixels that
an output block needs on each side. *Tile-exact* networks give the same labels in tiles as in one pass over the whole
image; of the others a prediction says how far its tiles are from one pass, measured on the image itself.

{family}

In 3D an axis is pooled, and looked along, from the level on at which voxels are about isotropic (`factors`).

## Presets

{presets}

{sizes}

## Measured

{measured}

{volumes}
"""


def main() -> None:
    PAGE.write_text(page())


def page() -> str:
    """The text of the page."""
    found = json.loads(RESULTS.read_text())
    return TEXT.format(
        family=family(), presets=presets(), sizes=sizes(found["planes"]), measured=measured(found["planes"]),
        volumes=measured(found["volumes"]),
    )  # fmt: skip


def table(head: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def family() -> str:
    """One row a choice."""
    rows = []
    for part, choices in CHOICES.items():
        for choice in choices:
            spec = UNetSpec(**{part: choice})
            exact = "no" if graph_of(spec).not_local else "yes"
            rows.append(
                [
                    f"`{part}`",
                    f"`{choice}`",
                    WORDS[part, choice],
                    exact,
                    f"{weights(spec):,}",
                    footprint(spec)[0].halo,
                ]
            )
    return table(["part", "choice", "what it is", "tile-exact", "weights", "halo"], rows)


def weights(spec: UNetSpec) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in UNet(spec).parameters())


def presets() -> str:
    """One row a preset."""
    rows = []
    for preset, dims in PRESETS:
        spec = preset_network(preset, dims)
        rows.append([f"`{preset}`", f"{dims}D", spec.width, spec.depth, f"{weights(spec):,}"])
    return table(["preset", "", "width", "depth", "weights"], rows)


def sizes(found: dict[str, Any]) -> str:
    """Mean IoU of sizes against seconds."""
    budgets = sorted({row["seconds"] for row in found["sizes"]})
    names = list(dict.fromkeys(row["network"] for row in found["sizes"]))
    rows = []
    for name in names:
        cells = []
        for budget in budgets:
            scores = [r["iou"] for r in found["sizes"] if r["network"] == name and r["seconds"] == budget]
            cells.append(" / ".join(f"{s:.3f}" for s in scores) or "")
        one = next(r for r in found["sizes"] if r["network"] == name)
        rows.append([name, *cells, f"{one['s_per_step']:.3f}", one["memory_mb"], f"{one['weights']:,}"])
    head = ["network", *(f"IoU after {b:g} s" for b in budgets), "s a step", "memory, MB", "weights"]
    return found["note_sizes"] + "\n\n" + table(head, rows)


def measured(found: dict[str, Any]) -> str:
    """One row a network of the benchmark."""
    rows = [
        [
            r["network"],
            f"{r['iou']:.3f}",
            f"{r['s_per_step']:.3f}",
            r["steps"],
            r["memory_mb"],
            f"{r['weights']:,}",
        ]
        for r in found["rows"]
    ]
    head = ["network", "mean IoU", "s a step", "steps", "memory, MB", "weights"]
    return found["note"] + "\n\n" + table(head, rows)


if __name__ == "__main__":
    main()
