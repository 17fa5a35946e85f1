"""The pixel classifier that answers first."""
