"""The JSON schema: valid, and with exactly the fields of the dataclasses, which the page documents."""

import dataclasses
import json

import jsonschema
import pytest

from mtmedformer_monai.deploy import results
from mtmedformer_monai.deploy.results_file import results_to_dict
from tests.deploy.conftest import ROOT
from tests.deploy.test_results_file import make_run

SCHEMA = json.loads((ROOT / "docs/results_schema.json").read_text())
CLASSES = ("RunResult", *SCHEMA["$defs"])


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", CLASSES)
def test_the_schema_and_the_page_have_every_field(name):
    part = SCHEMA if name == "RunResult" else SCHEMA["$defs"][name]
    fields = [field.name for field in dataclasses.fields(getattr(results, name))]
    assert list(part["properties"]) == fields
    page = (ROOT / "docs/results_schema.md").read_text()
    assert [field for field in fields if f"| `{field}` |" not in page] == []


def test_results_conform():
    jsonschema.validate(results_to_dict(make_run()), SCHEMA)


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run["studies"][0]["images"][0].update(size=[0, 1]),
        lambda run: run["studies"][0]["images"][0]["classes"]["kind"]["probabilities"].update(A=1.5),
        lambda run: run["provenance"].update(weights_sha256="?"),
        lambda run: run.pop("refused"),
        lambda run: run.update(schema_version="2.0"),
    ],
    ids=["size", "probability", "hash", "missing field", "version"],
)
def test_wrong_results_do_not(change):
    content = results_to_dict(make_run())
    change(content)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, SCHEMA)
