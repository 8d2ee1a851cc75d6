import numpy as np
import pytest
from pydicom.dataset import Dataset

from mtmedformer_monai.transforms.dicom.code_strings import read_code, read_codes
from mtmedformer_monai.transforms.dicom.mammogram_kind import read_kinds
from mtmedformer_monai.transforms.dicom.read import read_dicom

PIXELS = np.arange(64, dtype=np.uint16).reshape(8, 8) * 64
SPELLINGS = {
    "leading space": lambda code: f" {code}",
    "spaces": lambda code: f"  {code}  ",
    "NUL": lambda code: f"{code}\0",
    "NUL and rubbish": lambda code: f"{code}\0XYZ",
    "lower case": str.lower,
    "empty second value": lambda code: [code, ""],
    "empty first value": lambda code: ["", code],
}
spelled = pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR")


def raw(keyword, value, vr="CS"):
    """Makes an element whose value pydicom does not correct immediately."""
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    text = ("\\".join(value) if isinstance(value, list) else value).encode()
    text += b" " * (len(text) % 2)
    return RawDataElement(Tag(keyword), vr, len(text), text, 0, False, True)


def rewrite(path, **codes):
    """Writes code strings to a file verbatim."""
    import pydicom

    data = pydicom.dcmread(path)
    for keyword, value in codes.items():
        element = raw(keyword, value)
        data[element.tag] = element
    data.save_as(path)
    return path


@spelled
@pytest.mark.parametrize(
    ("keyword", "code", "more"),
    [
        ("PhotometricInterpretation", "MONOCHROME1", {}),
        ("PresentationLUTShape", "INVERSE", {}),
        ("VOILUTFunction", "SIGMOID", {"WindowCenter": 2000, "WindowWidth": 1500}),
        ("PixelIntensityRelationship", "LOG", {"PresentationIntentType": "FOR PROCESSING"}),
        ("PresentationIntentType", "FOR PROCESSING", {}),
        ("Modality", "CR", {}),
    ],
)
def test_every_spelling_gives_the_same_image(make_dicom, spell, keyword, code, more):
    plain, _ = read_dicom(rewrite(make_dicom(pixels=PIXELS, **more), **{keyword: code}))
    image, _ = read_dicom(rewrite(make_dicom(pixels=PIXELS, **more), **{keyword: spell(code)}))
    np.testing.assert_array_equal(image, plain)
    if keyword != "Modality":
        assert (plain != read_dicom(make_dicom(pixels=PIXELS, **more))[0]).any()  # the code matters


@spelled
def test_every_spelling_gives_the_same_metadata(make_dicom, spell):
    path = make_dicom(pixels=PIXELS)
    codes = {"Modality": "MG", "ImageLaterality": "R", "ViewPosition": "MLO"}
    meta = read_dicom(rewrite(path, **{keyword: spell(code) for keyword, code in codes.items()}))[1]
    assert (meta["modality"], meta["laterality"], meta["view"]) == ("MG", "R", "MLO")


@pytest.mark.parametrize("orientation", [[" P", "FL "], ["p", "fl"], ["P\0", "FL\0"], ["P", "FL", ""]])
def test_spellings_of_the_orientation(make_dicom, orientation):
    path = rewrite(make_dicom(pixels=PIXELS), PatientOrientation=orientation)
    assert read_dicom(path)[1]["patient_orientation"] == "P\\FL"


@spelled
def test_kinds_of_mammograms(spell):
    header, view, modifier = Dataset(), Dataset(), Dataset()
    modifier["CodeValue"] = raw("CodeValue", spell("R-102D5"), "SH")
    view.ViewModifierCodeSequence = [modifier]
    header.ViewCodeSequence = [view]
    header["Modality"] = raw("Modality", spell("MG"))
    header["ImageType"] = raw("ImageType", ["DERIVED", " PRIMARY", " tomosynthesis ", " Generated_2D"])
    header["PhotometricInterpretation"] = raw("PhotometricInterpretation", spell("MONOCHROME2"))
    assert read_kinds(header) == ("implants", "synthesized")


def test_values_by_hand():
    assert read_codes({"ImageType": [" original", "", b"axial\0", " "]}, "ImageType") == ("ORIGINAL", "", "AXIAL")
    assert read_codes({"ImageType": "A\\ b"}, "ImageType") == ("A", "B")  # a VR that pydicom does not split
    assert read_codes({}, "ImageType") == ()
    assert read_code({"Modality": ["", " dx"]}, "Modality") == "DX"
    assert read_code({"Modality": ""}, "Modality") == ""
