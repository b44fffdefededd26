"""Defaults that methods and verbs share. Nothing heavy is imported here, so that a parser can read them."""

# How finely NiRNE looks, across the object: chosen on renders, see docs/methods/nirne.md.
DETAIL_PX = 512
TILED_DETAIL_PX = 256  # weights of before there was a guide: more took time and brought no accuracy
