"""Writers of DX and MG DICOM files."""
