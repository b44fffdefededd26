"""3D Gaussians: covariances, and the normals in them."""
