"""The dock: all that Limn does, in four steps around one image."""
