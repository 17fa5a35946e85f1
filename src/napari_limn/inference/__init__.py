"""From a model and a volume to labels, block by block."""
