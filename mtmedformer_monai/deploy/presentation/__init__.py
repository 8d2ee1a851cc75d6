"""Grayscale Softcopy Presentation States."""
