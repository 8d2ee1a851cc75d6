"""MTMedFormer for MONAI: a multi-task vision transformer for radiographs, trained centrally or federated."""

__version__ = "0.1.0"
