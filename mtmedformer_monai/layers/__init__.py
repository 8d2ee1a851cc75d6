"""Layers shared by networks and tasks, and declarations of permutation groups."""
