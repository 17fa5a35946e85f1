"""From strokes to a model: losses, augmentation, the loop, scores."""
