"""DICOM Structured Reports."""
