"""A model made ready, over blocks, sweeps or overlapping tiles."""
