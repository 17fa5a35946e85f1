"""What is decided before the first step, and the model to begin with."""
