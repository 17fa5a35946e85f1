"""Reports for people: what is in a file, on this machine, in a network."""
