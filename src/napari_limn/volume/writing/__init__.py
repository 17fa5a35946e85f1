"""From blocks of labels to files that are whole or not there."""
