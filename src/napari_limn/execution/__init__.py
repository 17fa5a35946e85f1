"""Runs made of runs: folders, and training interleaved with predicting."""
