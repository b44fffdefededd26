"""maquette: photos into surface normals, and normals into geometry."""

__version__ = "0.1.0"
