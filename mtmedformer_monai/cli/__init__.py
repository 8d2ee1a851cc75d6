"""The command `mtmedformer`."""
