"""Runs made of runs: folders, and training with predicting by turns."""
