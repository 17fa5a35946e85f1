"""What compressed pieces of an image take in memory."""
