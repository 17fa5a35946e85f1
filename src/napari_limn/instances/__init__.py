"""From classes to objects: instances and their measurements, the same whatever the blocks."""
