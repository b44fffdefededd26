"""The data engine: shapes, materials, lights, photos."""
