"""Training GSN."""
