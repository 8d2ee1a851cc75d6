"""Inference in clinical research pipelines: results, DICOM objects, reports and services; for research use only."""
