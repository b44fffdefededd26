"""CLONE: one photo explained by Gaussians, a light, a refiner and a gate, closed into a loop; no normal is ever given.

photo, first normals -> surface (Gaussians) -> rasterized normals -> refiner and gate -> fused normals
       ^                                                                                      |
       '------------------ reprojection error <- light of the fused normals, albedo <---------'
"""
