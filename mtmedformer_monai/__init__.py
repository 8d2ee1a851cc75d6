"""MTMedFormer for MONAI: one vision transformer, many tasks, many sites."""

__version__ = "0.1.0"
