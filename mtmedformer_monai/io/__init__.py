"""Files that are written atomically and read safely."""
