"""Reports for people: one self-contained page each, made of what was measured elsewhere."""
