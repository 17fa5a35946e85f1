"""What runs elsewhere: events that travel between processes; folders, cluster and server come here."""
