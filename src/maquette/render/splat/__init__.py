"""Gaussians to images, differentiably: `maquette.render.splat.rasterize`, and one module a backend."""
