"""Gaussian splats from files and into files, one module a format; `files` chooses by the suffix."""
