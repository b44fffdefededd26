"""One HTML page that shows a photo, its normals under a light that one moves, and its relief."""
