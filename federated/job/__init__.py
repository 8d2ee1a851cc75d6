"""What a federation's job needs on every engine: its settings, each participant's own file, the server's session."""
