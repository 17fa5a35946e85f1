"""Arrays in, labels out."""

import numpy as np

import napari_limn as limn

image = np.random.default_rng(0).normal(50, 5, (128, 128)).astype(np.float32)
image[32:96, 32:96] += 40

strokes = np.zeros(image.shape, np.uint8)  # 0 is "not labelled"
strokes[8, 10:110], strokes[118, 10:110] = 1, 1  # background is a class, too
strokes[50, 40:90], strokes[80, 40:90] = 2, 2

model = limn.train(image, strokes, limn.TrainSpec(seconds=20))
labels = limn.predict(model, image)
print(labels.shape, labels.dtype, np.unique(labels))
