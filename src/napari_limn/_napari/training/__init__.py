"""Train and live mode."""
