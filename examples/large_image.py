"""Label an image that is larger than memory."""

import napari_limn as limn

model = limn.Model.load("cells.limn")
image = limn.open_volume("big.ome.zarr")  # nothing is read yet
spec = limn.PredictSpec(memory="2GB", probabilities="uint8")

print(limn.plan(model, image, spec))  # what it will cost, before anything runs

# goes on where an earlier run was stopped or killed
labels = limn.predict(model, image, "big_labels.ome.zarr", spec)
print(labels)
