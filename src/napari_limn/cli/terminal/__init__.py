"""What all verbs share: flags, what a terminal shows, signals."""
