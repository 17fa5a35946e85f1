"""From painted images to batches."""
