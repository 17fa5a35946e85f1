"""A network as a stream: which layer computes what, and when."""
