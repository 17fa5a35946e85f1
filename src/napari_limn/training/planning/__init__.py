"""What is decided before the first step; the initial model."""
