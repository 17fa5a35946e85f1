"""Strokes, classes, corrections: what the user paints."""
