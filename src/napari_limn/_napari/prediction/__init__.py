"""Predict, compare, review."""
