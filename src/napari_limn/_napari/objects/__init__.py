"""Objects of a class: split, measured, listed."""
