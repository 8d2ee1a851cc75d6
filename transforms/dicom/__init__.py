"""Reading DICOM projection radiographs."""
