"""Federated learning: posterior sites, strategies and MONAI FL clients."""
