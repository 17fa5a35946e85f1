"""From a model and a volume to a label volume: planned, exact, block by block."""
