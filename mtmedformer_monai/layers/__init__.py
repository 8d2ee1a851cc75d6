"""Layers shared by networks and tasks, and the permutation groups that they declare."""
