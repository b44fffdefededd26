"""Weights that ship, as package data."""
