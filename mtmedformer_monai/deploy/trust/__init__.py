"""What a bundle's configuration would run."""
