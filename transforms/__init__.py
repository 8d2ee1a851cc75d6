"""MONAI dictionary transforms for 2D projection radiographs."""
