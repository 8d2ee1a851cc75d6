"""Converters of public data sets to datalists, one file per set."""
