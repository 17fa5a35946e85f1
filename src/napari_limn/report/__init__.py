"""Reports for people: files, this machine, a network."""
