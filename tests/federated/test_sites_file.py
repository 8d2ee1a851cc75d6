from __future__ import annotations

import pytest

from mtmedformer_monai.federated.sites_file import Site, read_site, read_sites, site_text


@pytest.fixture
def write(tmp_path):
    def make(text):
        path = tmp_path / "sites.yaml"
        path.write_text(text)
        return path

    return make


def test_paths_are_relative_to_the_file(write, tmp_path):
    path = write("sites:\n- {name: a, datalist: x/list.json}\n- {name: b, dataset_dir: /data, overrides: {seed: 3}}\n")
    one, other = read_sites(path)
    assert one == Site("a", datalist=str(tmp_path / "x/list.json"))
    assert other == Site("b", dataset_dir="/data", overrides={"seed": 3})
    assert one.data_overrides() == {"datalist": str(tmp_path / "x/list.json")}
    assert other.data_overrides() == {"dataset_dir": "/data"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "expects a list of sites under 'sites'"),
        ("sites: []\n", "expects a list of sites under 'sites'"),
        ("sites: [{name: a}, {name: a}]\n", "expects different names"),
        ("sites: [{name: a}, {name: A}]\n", "expects different names"),
        ("sites: [{name: pooled}]\n", "has a site 'pooled', which a federation calls something else; rename"),
        ("sites: [{name: Server}]\n", "has a site 'Server', which a federation"),
        ("sites: [{name: model.pt}]\n", r"has a site 'model\.pt', which a federation"),
        ("sites: [{name: ../a}]\n", "expects site names of letters"),
        ("sites: [{datalist: x}]\n", "expects site names of letters"),
        ("sites: [{name: a, data: x}]\n", r"expects the entries .*, got \['data'\]"),
        ("sites: [a]\n", "expects the entries"),
        ("sites: [{name: a, overrides: 3}]\n", "expects values by name under 'overrides', got 3"),
        ("sites: [}\n", "expects YAML"),
    ],
)
def test_anything_else_is_refused(write, text, message):
    with pytest.raises(ValueError, match=message):
        read_sites(write(text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is expected at .*none\.yaml"):
        read_sites(tmp_path / "none.yaml")


def test_a_sites_own_settings_survive_writing(write):
    site = Site("a", "/bundle", "/list.json", output="/out", num_threads=2, options={"personal": True})
    assert read_site(write(site_text(site))) == site
