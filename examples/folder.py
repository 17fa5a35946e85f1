"""Label all images of a folder, and list those that failed."""

import napari_limn as limn
from napari_limn.events import ImageDone


def say(event: object) -> None:
    """Print a line for each image."""
    if isinstance(event, ImageDone):
        print(f"{event.number} of {event.total}: {event.image} {event.status}")


result = limn.predict_folder("cells.limn", ["plate7/"], "labels_of_folder/", intensity="shared", listen=say)
for entry in result.failures:
    print(entry.image, entry.message)
