"""The version, for all rooms: none of them imports the package itself."""

__version__ = "0.1.0"
