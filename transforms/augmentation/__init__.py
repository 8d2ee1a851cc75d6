"""Random transforms for training."""
