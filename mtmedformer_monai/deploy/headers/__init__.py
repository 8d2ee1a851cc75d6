"""What all DICOM outputs take from their source, and their identifiers."""
