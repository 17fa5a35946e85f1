"""Which blocks and columns fit into a memory limit."""
