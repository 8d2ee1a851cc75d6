"""Federated clients: MONAI FL, local training, and the parameters that a client trains."""
