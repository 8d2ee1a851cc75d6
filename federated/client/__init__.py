"""Clients of a federation: MONAI FL, local training, ownership of parameters."""
