"""What a training step costs beside forward and backward of the bare network: drawing, augmentation, averaging, the optimiser.

    python benchmarks/step.py [--rounds 15]

The sample image with its strokes, the network of each preset; both in one process, in turns, medians. Run it alone on the machine.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import TYPE_CHECKING

import torch

import napari_limn as limn
from napari_limn import samples
from napari_limn.training.data.painted import collect_training_data
from napari_limn.training.data.training_set import TrainingSet
from napari_limn.training.losses import masked_loss
from napari_limn.training.planning.initial_model import initial_model
from napari_limn.training.planning.resolve import resolve
from napari_limn.training.run import TrainingRun

if TYPE_CHECKING:
    from collections.abc import Callable


def timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def ratio(preset: str, rounds: int) -> tuple[float, float]:
    """Seconds of a step, and of forward and backward alone."""
    spec = limn.TrainSpec(preset=preset)
    painted = collect_training_data(samples.PAINTED.image, samples.PAINTED.strokes, spec, None, {}, {})
    image, classes = painted.images[0], painted.classes
    resolved = resolve(spec, image, classes)
    data, device = TrainingSet(painted, resolved), resolved.device
    start, random = initial_model(resolved, image, classes, None)
    run = TrainingRun(start, resolved, data, random)
    learning = run.learning()
    while not run.budget.steps:  # from then on there are soft targets
        next(learning)
    learning.close()
    batch = data.batch().to(device)

    def bare() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=resolved.bfloat16):
            logits = run.learner.network.convolved(batch.images)
        masked_loss("cross_entropy", logits, batch.targets).backward()

    steps, bares = [], []
    for _ in range(rounds + 2):
        steps.append(timed(lambda: run.learner.step(data.batch().to(device))))
        bares.append(timed(bare))
    return median(steps[2:]), median(bares[2:])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    for preset in ("fast", "balanced", "thorough"):
        step, bare = ratio(preset, args.rounds)
        print(f"{preset}: step {step * 1e3:.0f} ms, bare {bare * 1e3:.0f} ms, ratio {step / bare:.3f}")


if __name__ == "__main__":
    main()
