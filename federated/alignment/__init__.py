"""Permutation alignment of networks."""
