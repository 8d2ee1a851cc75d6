"""Synthetic mammograms."""
