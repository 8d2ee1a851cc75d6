"""No two sources share a name, within a run and across runs."""

import json
import os

import pytest

from mtmedformer_monai.engines.postprocessing.output_names import (
    OutputNames,
    absolute,
    relative_to_given,
    stem_of,
)
from mtmedformer_monai.engines.postprocessing.save_predictions import ENDINGS, _identify


def make(folder, paths=()):
    names = OutputNames(folder, ENDINGS, _identify, paths)
    names.plan({absolute(path): stem_of(path) for path in paths})
    return names


def named(folder, paths):
    """Returns the names in the order of the paths, writing a result for each."""
    names = make(folder, paths)
    found = [names.name(absolute(path), stem_of(path)) for path in paths]
    folder.mkdir(exist_ok=True)
    for path, name in zip(paths, found, strict=True):
        root, image = os.path.split(absolute(path))
        (folder / f"{name}.json").write_text(json.dumps({"root": root, "image": image}))
    return found


@pytest.mark.parametrize(
    "paths",
    [
        ["/in/a/IM1.png", "/in/b/IM1.png", "/in/IM1_2.png"],
        ["/in/a/b.png", "/in/a_b.png"],
        ["/in/x.png", "/in/x.dcm", "/in/x.nii.gz", "/in/x"],
        ["/in/x.png", "/in/X.PNG", "/in/x.Png"],
        ["/in/x.png", "/in/x_labels.png", "/in/x_overlay.png", "/in/x.json.png"],
        ["/one/IM1.png", "/two/IM1.png", "/two/deep/IM1.png"],
        ["/in/e\u0301.png", "/in/\u00e9.png"],
        ["/in/stra\u00dfe.png", "/in/STRASSE.png"],
        ["/in/1.2.840.1", "/in/1.2.840.2", "/in/1.2.840"],
        [f"/in/{'x' * 240}{end}.png" for end in "ab"],
        ["/in/.png", "/in/image.png"],
        ["/in/skipped.png", "/in/SKIPPED.dcm"],
    ],
)
def test_files_of_a_run_differ_also_where_case_and_unicode_form_do_not_count(tmp_path, paths):
    found = named(tmp_path / "out", paths)
    files = {f"{name}{ending}".casefold() for name in found for ending in ENDINGS}
    assert len(files) == len(paths) * len(ENDINGS)
    assert "skipped.json" not in files
    assert all("/" not in name and len(f"{name}_overlay.png.abcdefgh.partial".encode()) < 255 for name in found)


def test_a_unique_name_is_kept(tmp_path):
    assert named(tmp_path, ["/in/a/IM1.png", "/in/b/IM2.dcm"]) == ["IM1", "IM2"]


def test_the_order_of_the_sources_does_not_matter(tmp_path):
    paths = ["/in/a/IM1.png", "/in/b/IM1.png", "/in/c/IM1.png", "/in/IM1_2.png"]
    forwards = dict(zip(paths, named(tmp_path / "one", paths), strict=True))
    assert forwards == dict(zip(paths[::-1], named(tmp_path / "two", paths[::-1]), strict=True))


def test_the_same_run_again_takes_the_same_names(tmp_path):
    paths = ["/in/a/IM1.png", "/in/b/IM1.png", "/in/c.png"]
    assert named(tmp_path, paths) == named(tmp_path, paths)


def test_a_later_run_leaves_other_results_and_overwrites_its_own(tmp_path):
    first = named(tmp_path, ["/one/IM1.png"])
    second = named(tmp_path, ["/two/IM1.png"])
    assert first == ["IM1"]
    assert second != first
    both = ["/one/IM1.png", "/two/IM1.png"]
    assert named(tmp_path, both) == first + second
    assert named(tmp_path, both[1:]) == second


@pytest.mark.parametrize("name", ["IM1.json", "IM1_labels.png"])
def test_an_unrelated_file_is_not_overwritten(tmp_path, name):
    (tmp_path / name).write_text("not ours")
    assert named(tmp_path, ["/in/IM1.png"]) != ["IM1"]
    assert (tmp_path / name).read_text() == "not ours"


def test_an_input_is_not_overwritten_where_results_go_beside_the_inputs(tmp_path):
    paths = [str(tmp_path / name) for name in ("x.png", "x_labels.png")]
    assert make(tmp_path, paths).name(paths[0], "x") != "x"


def test_sources_that_were_not_announced_are_named_one_by_one(tmp_path):
    names = make(tmp_path)
    found = [names.name(source, "IM1") for source in ("/a/IM1.png", "/b/IM1.png", "/a/IM1.png")]
    assert found[0] == found[2] == "IM1"
    assert found[1].startswith("IM1_")
    assert len(names) == 2


@pytest.mark.parametrize(
    ("path", "given", "expected"),
    [
        ("/in/a/x.png", "/in", ("/in", "a/x.png")),
        ("/in/a/x.png", "/in/", ("/in", "a/x.png")),
        ("/in/a/x.png", "/elsewhere/../in", ("/in", "a/x.png")),
        ("/in/../out/x.png", "/out", ("/out", "x.png")),
        ("/in/a/x.png", ["/other", "/in/a"], ("/in/a", "x.png")),
        ("/in/a/x.png", "/in/a/x.png", ("/in/a", "x.png")),
        ("/in/a/x.png", "/in/a/x", ("/in/a", "x.png")),
        ("/inner/x.png", "/in", ("/inner", "x.png")),
        ("/in/x.png", "", ("/in", "x.png")),
    ],
)
def test_path_from_what_was_given(path, given, expected, monkeypatch):
    monkeypatch.chdir("/usr")
    assert relative_to_given(path, given) == expected
