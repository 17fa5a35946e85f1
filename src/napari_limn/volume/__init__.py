"""What comes in from disk, and what goes out: axes, intensity, lazy reading, chunked writing. No torch."""
