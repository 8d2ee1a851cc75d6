"""Breast mask, orientation, crop and background of mammograms."""
