"""Random transforms for data augmentation."""
