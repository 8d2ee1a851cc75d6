"""Overlays, color palettes and Matplotlib figures."""
