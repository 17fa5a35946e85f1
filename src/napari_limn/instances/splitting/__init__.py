"""Separating objects that touch.

A landscape, its basins, and which of them are one object.
"""
