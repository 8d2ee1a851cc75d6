"""Converters of public datasets."""
