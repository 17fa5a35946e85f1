"""How good labels are, and where more paint would help."""
