"""Benches that `maquette bench` runs, a protocol each."""
