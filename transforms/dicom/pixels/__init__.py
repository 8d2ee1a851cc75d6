"""Decoding of DICOM pixel data."""
