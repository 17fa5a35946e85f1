"""Volumes: axes, boxes, intensity, lazy reading, chunked writing; no torch."""
