"""Train, score against labels made by hand, and train further with corrections."""

import napari_limn as limn

model = limn.train(
    "a.tif", "a_strokes.tif", limn.TrainSpec(seconds=60), names={1: "background", 2: "nucleus"}
)
model.save("first.limn")

labels = limn.predict(model, "b.tif")
print("before:", limn.score(labels, "b_truth.tif"))

# strokes on both images: what was learnt from the first is not forgotten
images, strokes = ["a.tif", "b.tif"], ["a_strokes.tif", "b_strokes.tif"]
better = limn.train(images, strokes, limn.TrainSpec(seconds=60), model=model)
better.save("better.limn")
