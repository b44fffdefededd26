"""Work on photos, maps and splats that is no paper's method: export, checks, relighting, steadying, grasps."""
