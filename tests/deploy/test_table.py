"""`results.csv`: a row per image and one per study."""

import csv

from mtmedformer_monai.deploy.results import BoxResult, ClassResult, ImageResult, RunResult, StudyResult
from mtmedformer_monai.deploy.table import write_table
from tests.deploy.test_results_file import make_run


def read(folder, run):
    assert write_table(run, folder) == {"csv": "results.csv"}
    with (folder / "results.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_images_and_studies_have_their_values(tmp_path):
    image, study = read(tmp_path, make_run())
    assert (image["level"], image["source"], image["rows"], image["columns"]) == ("image", "a.dcm", "30", "40")
    assert (image["lesion.mass.area_px"], image["lesion.mass.area_mm2"]) == ("3", "0.06")
    assert (image["box.count"], image["box.max_probability"]) == ("1", "0.9")
    assert (image["kind.predicted"], image["kind.A"], image["flags"]) == ("B", "0.4", "unknown view")
    assert (study["level"], study["images"], study["fused.R.x"], study["source"]) == ("study", "1", "1.0", "")


def test_tasks_of_different_images_share_one_header(tmp_path, provenance):
    images = (
        ImageResult("a", "a", (1, 1), boxes={"box": ()}),
        ImageResult("b", "b", (1, 1), classes={"kind": ClassResult("binary", {"x": 0.1}, (), applicable=False)}),
        ImageResult("c", "c", (1, 1), boxes={"box": (BoxResult((0, 0, 1, 1), "x", 0.2),)}),
    )
    rows = read(tmp_path, RunResult("", (), provenance, (StudyResult(None, "s", images),)))
    assert [row["box.count"] for row in rows] == ["0", "", "1", ""]
    assert [row["box.max_probability"] for row in rows] == ["", "", "0.2", ""]
    assert [row["kind.predicted"] for row in rows] == ["", "not applicable", "", ""]


def test_file_names_are_no_formulas(tmp_path, provenance):
    images = tuple(ImageResult(name, "a", (1, 1)) for name in ("=1+1", "@x", "-2", 'a,b"c\nd', "plain"))
    rows = read(tmp_path, RunResult("", (), provenance, (StudyResult(None, "s", images),)))
    assert [row["source"] for row in rows[:-1]] == ["'=1+1", "'@x", "'-2", 'a,b"c\nd', "plain"]


def test_a_run_without_results_has_a_table_without_rows(tmp_path, provenance):
    assert read(tmp_path, RunResult("", (), provenance, ())) == []
