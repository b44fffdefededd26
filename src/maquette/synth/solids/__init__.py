"""Solids and surfaces from a seed: families, their builder, height maps."""
