"""Inference in clinical research: DICOM in, DICOM and reports out."""
