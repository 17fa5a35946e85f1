"""A lower precision changes few labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_limn.annotation.classes import Classes
from napari_limn.inference.pipeline import (
    PredictSpec,
    predict,
)
from napari_limn.model import Model, ModelSpec
from napari_limn.network.spec import UNetSpec
from napari_limn.network.unet import UNet

PLANES, VOLUMES = ((2, 2), (2, 2)), ((1, 2, 2), (2, 2, 2))

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("factors", "shape"), [(((2, 2),) * 2, (37, 50)), (((1, 2, 2), (2, 2, 2)), (9, 37, 50))]
)
def test_bfloat16_changes_few_labels_at_odd_sizes(factors, shape):
    torch.manual_seed(0)
    spec = ModelSpec(network=UNetSpec(width=4, factors=factors), classes=Classes((1, 2)))
    model = Model(spec, UNet(spec.network).eval())
    image = np.random.default_rng(0).random(shape, np.float32)
    exact = predict(model, image)
    rounded = predict(model, image, spec=PredictSpec(precision="bfloat16"))
    assert 0.95 < (exact == rounded).mean() <= 1
