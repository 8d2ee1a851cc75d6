"""`--help` of every command documents each option with its meaning, choices, default and unit."""

from __future__ import annotations

import argparse
import re

import pytest

from mtmedformer_monai.cli.main import make_parser

UNITS = {"FRACTION", "PIXELS", "SECONDS", "N", ("ROWS", "COLUMNS")}
"""Metavars of numbers; N is a count or a seed, as stated in the help."""


def commands(parser, path=()):
    """Returns all subparsers of a parser: {command: parser}."""
    found = {" ".join(path): parser}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                found |= commands(child, (*path, name))
    return found


PARSERS = commands(make_parser())


def options(parser):
    skipped = (argparse._HelpAction, argparse._SubParsersAction, argparse._VersionAction)
    return [action for action in parser._actions if not isinstance(action, skipped)]


def test_flare_lists_the_strategies_that_it_accepts():
    strategy = next(action for action in options(PARSERS["federate flare"]) if action.dest == "strategy")
    assert "task_agnostic" not in strategy.choices


@pytest.mark.parametrize("name", PARSERS)
def test_every_option_is_explained(name):
    for action in options(PARSERS[name]):
        assert action.help, action.dest


@pytest.mark.parametrize("name", PARSERS)
def test_defaults_choices_and_units_are_shown(name):
    text = " ".join(PARSERS[name].format_help().split())
    for action in options(PARSERS[name]):
        assert set(action.choices or ()) <= set(re.findall(r"\w+", text)), action.dest
        default = " ".join(map(str, action.default)) if isinstance(action.default, list) else action.default
        if action.default not in (None, False, [], 0):
            assert f"(default: {default})" in text, action.dest
        if action.type in (int, float):
            assert action.metavar in UNITS, action.dest
            assert "(default: " in action.help or f"(default: {default})" in text
