import shlex

import pytest
from monai.bundle import ConfigParser

from mtmedformer_monai.io.config_text import config_text, warn_if_mangled

TEXTS = [
    "/data/images",
    "/data/ward#3",
    "$HOME/data",
    "@network",
    "%train.json",
    "/100%/a@b",
    "/x@#y/%#z",
    '/it\'s "quoted"/back\\slash#',
    "/größe ü/#1",
]


@pytest.mark.parametrize("text", TEXTS)
def test_the_parser_restores_the_text_in_a_value_and_in_an_expression(text):
    parser = ConfigParser({"folder": config_text(text), "file": "$@folder + '/x'", "y": 1, "z": 2})
    assert parser.get_parsed_content("folder") == text
    assert parser.get_parsed_content("file") == f"{text}/x"


def test_a_plain_path_is_unchanged():
    assert config_text("/data/my images, 2024") == "/data/my images, 2024"


def test_a_path_changed_by_the_parser_is_reported_with_the_remedy(caplog):
    mangled = ConfigParser({"folder": "/data/ward#3"}).get_parsed_content("folder")
    warn_if_mangled(mangled)
    (record,) = caplog.records
    (typed,) = shlex.split(record.getMessage().partition("--output_dir ")[2])
    assert ConfigParser({"folder": typed}).get_parsed_content("folder") == "/data/ward#3"
    caplog.clear()
    warn_if_mangled("/data/ward 3")
    assert not caplog.records
