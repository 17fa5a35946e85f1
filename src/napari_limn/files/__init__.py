"""What may happen to files: durable writing, working names, names of paths."""
