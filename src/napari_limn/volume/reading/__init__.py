"""From files and arrays to voxels, lazily."""
