"""Attributes required in every X-ray file for both IODs (DICOM PS3.3 A.26.3, A.27.3)."""

TYPE_1 = [
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "PresentationIntentType",
    "ImageLaterality", "PatientOrientation", "ImageType", "PixelIntensityRelationship",
    "PixelIntensityRelationshipSign", "RescaleIntercept", "RescaleSlope", "RescaleType", "PresentationLUTShape",
    "LossyImageCompression", "BurnedInAnnotation", "ImagerPixelSpacing", "SamplesPerPixel",
    "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "PixelData", "AnatomicRegionSequence", "ViewCodeSequence",
]  # fmt: skip
"""Attributes that must be present with a value."""

TYPE_2 = [
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName",
    "StudyID", "AccessionNumber", "SeriesNumber", "InstanceNumber", "Manufacturer", "DetectorType",
    "AcquisitionContextSequence",
]  # fmt: skip
"""Attributes that must be present, possibly without a value."""
