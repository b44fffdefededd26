"""Photos with true normals, scores on them, tables and pictures of the scores."""
