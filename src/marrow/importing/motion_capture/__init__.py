"""Motion capture: BVH, Acclaim, C3D."""
