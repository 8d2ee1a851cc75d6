"""Training state, checkpoints and exact resumption."""
