"""Grasps: where a gripper with two parallel fingers could take hold of what a splat shows.

Gaussians -> surface (points, outward normals) -> antipodal pairs of contacts -> hands that fit around them -> ranked
"""
