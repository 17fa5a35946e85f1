"""Label an image, and open both in napari."""

import napari

import napari_limn as limn

model = limn.Model.load("cells.limn")
limn.predict(model, "a.tif", "a_labels.tif")

viewer = napari.Viewer()
viewer.open("a.tif", plugin="napari-limn")
viewer.open("a_labels.tif", plugin="napari-limn")  # colours and names of the classes come along
if __name__ == "__main__":
    napari.run()
