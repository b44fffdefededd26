"""The rows of a signed field: kinds of primitives, noises, ornaments and reliefs, and what their columns mean."""

# Primitive kinds (column KIND); parameters a, b, c, d are columns PARAM...
SPHERE, BOX, CYLINDER, CONE, TORUS, CAPSULE, SUPERQUADRIC, PLANE, REVOLVE, EXTRUDE, ELLIPSOID = range(11)
# How a primitive joins what came before it (column OPERATION).
# APART is no primitive: what follows it carves and cuts itself only, and joins what came before without a blend.
UNION, SUBTRACT, INTERSECT, APART = range(4)
# Columns of a primitive's row. RELIEF is 1 + the row of `Field.reliefs` on its surface, 0 for none; REPEATS how
# often a relief that runs around it fits.
KIND, OPERATION, BLEND, CENTER, ROTATION, PARAM, ROUNDING, BOUND, MIRROR, TABLE, CHAMFER, PART, RELIEF, REPEATS = (
    0, 1, 2, 3, 6, 15, 19, 20, 21, 22, 23, 24, 25, 26,
)  # fmt: skip
PRIMITIVE_COLUMNS = 27
# Noise kinds (column 0 of `Field.noises`).
FBM, RIDGED, BILLOW, CRACKS, GROOVES, DIMPLES = range(6)
NOISE_COLUMNS = 12  # kind, frequency, amplitude, octaves, gain, offset xyz, region frequency, region bias, axis, 0
# Decal mappings (column 0 of `Field.decal_rows`).
PLANAR, CYLINDRICAL = range(2)
DECAL_COLUMNS = 20  # mapping, amplitude, repeat u, repeat v, center xyz, rotation (9), window u, window v, depth, 0
# Relief mappings (column 0 of `Field.reliefs`): around local y, from the six sides, or along local y.
AROUND, SIDES, ON_TOP = range(3)
RELIEF_COLUMNS = 7  # mapping, map, amplitude, side of a tile, offset u, offset v, turned by a right angle

PARTS = 127  # the ids of primitives are 1 to PARTS; those of a relief's cells follow, up to 255
FAR = 1e3
