"""Affine geometry, letterboxing, turns, and the way back to source pixels."""
