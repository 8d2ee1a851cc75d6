"""Command-line interface: the `mtmedformer` command."""
