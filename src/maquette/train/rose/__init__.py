"""Training RoSE."""
