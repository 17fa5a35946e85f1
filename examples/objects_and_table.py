"""Number the nuclei of an image, and measure them."""

import pandas as pd

import napari_limn as limn

spec = limn.PredictSpec(probabilities="uint8")
limn.predict("cells.limn", "image.ome.zarr", "nuclei.ome.zarr", spec)
found = limn.objects(
    "nuclei.ome.zarr", "image.ome.zarr", spec=limn.ObjectSpec(classes=("nucleus",), smallest="1um2")
)

table = pd.DataFrame(dict(found.table.columns))
print(table[["label", "area", "intensity_mean"]].describe() if len(table) else "no nucleus")
print("areas are in", found.table.units["area"])
