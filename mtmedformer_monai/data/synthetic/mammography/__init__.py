"""Generator of synthetic mammograms."""
