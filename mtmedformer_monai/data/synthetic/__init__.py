"""Generators of synthetic radiographs: cohorts of DICOM files with masks, boxes and labels."""
