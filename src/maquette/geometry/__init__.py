"""Frames, cameras, fields and directions."""
