"""A journal of strokes: what was painted is in a file before the hand goes on."""
