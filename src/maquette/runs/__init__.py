"""Runs: the one loop of every training, its state on disk, its phases."""
