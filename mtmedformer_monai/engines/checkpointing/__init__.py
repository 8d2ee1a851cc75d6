"""Training state, checkpoints and exact resume."""
