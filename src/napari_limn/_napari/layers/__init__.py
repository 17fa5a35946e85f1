"""Layers: what they hold, whose they are, how they are shown."""
