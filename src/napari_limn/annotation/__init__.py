"""What the user painted: classes, strokes, check-up, journal; no torch."""
