"""Overlays, palettes and figures."""
