"""A worker for a DICOM archive (PACS): takes images, infers, and stores the results back; for research use only."""
