"""MultiShade: photos of objects under any light, and what a ring of lights would show of them (RoSE's data)."""
