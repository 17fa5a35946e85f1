"""Separating objects that touch: a landscape, its basins, and which of them are one object."""
