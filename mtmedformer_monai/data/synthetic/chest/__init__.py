"""Generator of synthetic chest X-rays."""
