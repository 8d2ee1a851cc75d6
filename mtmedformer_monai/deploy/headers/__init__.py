"""What all DICOM outputs share: attributes of their source, identifiers, times and codes."""
