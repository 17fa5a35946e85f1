"""A label file of a test, planned and created in one call."""

from __future__ import annotations

from napari_limn.volume.writing.output import create_output, plan_output


def output_at(path, image, dtype, block, colors, names, *, probabilities=None, order="TZYX", **options):
    """A label file for blocks of some extent; the rest as of `plan_output` and `create_output`."""
    layout = plan_output(
        path, image, dtype, block, probabilities=probabilities, classes=len(names), order=order
    )
    return create_output(layout, path, image, colors, names, **options)
