"""Split learning and task-agnostic federated learning, on the same networks and bundles."""
