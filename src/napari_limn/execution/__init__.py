"""What runs elsewhere: events that travel between processes."""
