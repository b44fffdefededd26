"""Training NiRNE."""
