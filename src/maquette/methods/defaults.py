"""Defaults that methods and verbs share. Nothing heavy is imported here, so that a parser can read them."""

DETAIL_PX = 512  # how finely NiRNE looks, across the object: chosen on held-out renders, see docs/methods/nirne.md
