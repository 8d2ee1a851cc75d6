"""Writers of synthetic DX and MG DICOM files."""
