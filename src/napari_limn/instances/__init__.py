"""From classes to objects: instances and their measurements.

They are the same whatever the blocks.
"""
