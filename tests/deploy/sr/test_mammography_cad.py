import pydicom
import pytest

from mtmedformer_monai.deploy.report_writers import write_mammography_cad
from mtmedformer_monai.deploy.results import BoxResult, ImageSource, StudyResult
from mtmedformer_monai.deploy.sr.mammography_cad_report import mammography_cad_report
from mtmedformer_monai.keys import NOTICE
from tests.deploy.sources import DENSITY, MODEL, result_of, write_chest, write_mammogram

BOX = BoxResult((2.0, 3.5, 10.0, 20.0), "mass", 0.75)
LESION = BoxResult((0.0, 1.0, 4.0, 5.0), "lesion", 0.5)


def study(*images):
    return StudyResult("1.2", "study", images)


@pytest.fixture
def views(tmp_path):
    return [write_mammogram(tmp_path / f"{view}.dcm", view=view) for view in ("CC", "MLO")]


def resolve(document, path):
    """The item at a position of the tree, from the root."""
    item = document
    for position in path[1:]:
        item = item.ContentSequence[position - 1]
    return item


def items(document, value_type, meaning=""):
    found = []
    for item in document.ContentSequence:
        name = item.ConceptNameCodeSequence[0].CodeMeaning if "ConceptNameCodeSequence" in item else ""
        if item.get("ValueType") == value_type and name == (meaning or name):
            found.append(item)
        if "ContentSequence" in item:
            found += items(item, value_type, meaning)
    return found


def write(document, folder):
    document.save_as(folder / "cad.dcm", enforce_file_format=True)
    return pydicom.dcmread(folder / "cad.dcm")


def test_findings_lie_where_they_belong_on_their_image(tmp_path, views):
    results = [result_of(views[0], boxes={"box": ()}), result_of(views[1], boxes={"box": (BOX, LESION)})]
    read = write(mammography_cad_report(study(*results), views, MODEL), tmp_path)
    findings = items(read, "CODE", "Single Image Finding")
    assert [finding.ConceptCodeSequence[0].CodeValue for finding in findings] == ["129793001", "111099"]
    center, outline = (items(findings[0], "SCOORD", name)[0] for name in ("Center", "Outline"))
    assert center.GraphicData == [6.0, 11.75]
    assert outline.GraphicData == [2, 3.5, 10, 3.5, 10, 20, 2, 20, 2, 3.5]
    for region in (center, outline):
        image = resolve(read, region.ContentSequence[0].ReferencedContentItemIdentifier)
        assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == views[1].SOPInstanceUID
    measured = items(findings[0], "NUM", "Certainty of Finding")[0].MeasuredValueSequence[0]
    assert (measured.NumericValue, measured.MeasurementUnitsCodeSequence[0].CodeValue) == (75, "%")
    assert items(findings[1], "TEXT", "Selected Region Description")[0].TextValue == "lesion"


@pytest.mark.parametrize(
    ("boxes", "classes", "summary", "detections", "analyses"),
    [
        ({"box": (BOX,)}, {}, "111242", "111222", "111225"),
        ({"box": ()}, {"breast_density": DENSITY}, "111241", "111222", "111222"),
        ({}, {"breast_density": DENSITY}, "111241", "111225", "111222"),
    ],
    ids=["finding", "no finding", "density only"],
)
def test_the_summaries_say_what_was_done(views, boxes, classes, summary, detections, analyses):
    result = result_of(views[0], boxes=boxes, classes=classes)
    document = mammography_cad_report(study(result), views[:1], MODEL)
    stated = [
        items(document, "CODE", name)[0].ConceptCodeSequence[0].CodeValue
        for name in ("CAD Processing and Findings Summary", "Summary of Detections", "Summary of Analyses")
    ]
    assert stated == [summary, detections, analyses]


@pytest.mark.parametrize(("boxes", "summary"), [((BOX,), "111244"), ((), "111243")], ids=["finding", "no finding"])
def test_a_study_with_refused_images_is_not_reported_as_complete(views, boxes, summary):
    results = StudyResult("1.2", "study", (result_of(views[0], boxes={"box": boxes}),), num_refused=2)
    document = mammography_cad_report(results, views[:1], MODEL)
    found = items(document, "CODE", "CAD Processing and Findings Summary")[0].ConceptCodeSequence[0]
    assert found.CodeValue == summary
    assert found.CodeMeaning.startswith("Not all algorithms succeeded")
    assert "could not be processed: 2." in items(document, "TEXT", "Impression Description")[0].TextValue
    whole = mammography_cad_report(study(*results.images), views[:1], MODEL)
    assert whole.SOPInstanceUID != document.SOPInstanceUID


def test_the_impression_states_the_composition_and_the_notice_only(views):
    results = [result_of(view, classes={"breast_density": DENSITY}) for view in views]
    document = mammography_cad_report(study(*results), views, MODEL)
    assert items(document, "TEXT", "Impression Description")[0].TextValue.split("\n") == [
        NOTICE,
        "Breast composition (R CC): Scattered fibroglandular densities.",
        "Breast composition (R MLO): Scattered fibroglandular densities.",
    ]
    assert items(document, "CODE", "Assessment Category") == []


def test_the_library_describes_the_views(views):
    document = mammography_cad_report(study(*(result_of(view) for view in views)), views, MODEL)
    assert [item.ConceptCodeSequence[0].CodeMeaning for item in items(document, "CODE", "Image View")] == [
        "cranio-caudal",
        "medio-lateral oblique",
    ]
    assert {item.ConceptCodeSequence[0].CodeMeaning for item in items(document, "CODE", "Image Laterality")} == {
        "Right breast"
    }
    assert items(document, "NUM", "Horizontal Pixel Spacing") == []
    evidence = document.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    references = [item.ReferencedSOPInstanceUID for series in evidence for item in series.ReferencedSOPSequence]
    assert references == [view.SOPInstanceUID for view in views]


def test_other_images_of_the_study_are_left_out(tmp_path, views):
    chest = write_chest(tmp_path / "chest.dcm")
    headers = [chest, views[0]]
    document = mammography_cad_report(study(*map(result_of, headers)), headers, MODEL)
    assert len(items(document, "IMAGE")) == 1
    with pytest.raises(ValueError, match="study expects at least one mammogram"):
        mammography_cad_report(study(result_of(chest)), [chest], MODEL)


def test_the_identifier_depends_on_the_images(views):
    results = [result_of(view) for view in views]
    both, again = (mammography_cad_report(study(*results), views, MODEL) for _ in range(2))
    one = mammography_cad_report(study(results[0]), views[:1], MODEL)
    assert both.SOPInstanceUID == again.SOPInstanceUID != one.SOPInstanceUID


@pytest.mark.parametrize(
    ("content", "written"),
    [({}, False), ({"boxes": {"box": ()}}, True), ({"classes": {"breast_density": DENSITY}}, True)],
    ids=["nothing was looked for", "no box", "density alone"],
)
def test_a_study_in_which_nothing_was_looked_for_has_no_document(tmp_path, content, written):
    """It would read as a study without findings."""
    header = write_mammogram(tmp_path / "source.dcm")
    result = result_of(header, **content)
    source = ImageSource(tmp_path / "source.dcm", header)
    found = write_mammography_cad(StudyResult("1.2", "study", (result,)), [source], MODEL, tmp_path)
    assert (found == {"cad_sr": "study_cad_sr.dcm"}) is written
