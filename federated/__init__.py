"""Federated learning: partitioned variational inference, strategies and MONAI FL clients."""
