"""The pixel classifier that answers first, and what the network learns from it."""
