"""Postprocessing of raw outputs into findings and files."""
