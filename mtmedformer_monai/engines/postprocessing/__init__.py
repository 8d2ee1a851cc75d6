"""From raw outputs to findings and files."""
