"""What every panel has: fields, a run with its state, models, keys."""
