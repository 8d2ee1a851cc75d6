"""The DICOM grayscale pipeline: Modality LUT, VOI LUT, polarity, padding."""
