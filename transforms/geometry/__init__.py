"""Affine geometry, letterboxing, orthogonal orientations, and restoring predictions to source pixels."""
