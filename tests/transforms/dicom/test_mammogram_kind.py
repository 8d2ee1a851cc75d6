import pytest
from pydicom.dataset import Dataset

from mtmedformer_monai.transforms.dicom.mammogram_kind import read_kinds


def coded(value, modifiers=()):
    item = Dataset()
    item.CodeValue = value
    item.ViewModifierCodeSequence = [coded_alone(modifier) for modifier in modifiers]
    return item


def coded_alone(value):
    item = Dataset()
    item.CodeValue = value
    return item


def header_of(**elements):
    header = Dataset()
    header.Modality = "MG"
    for keyword, value in elements.items():
        setattr(header, keyword, value)
    return header


CC = "399162004"
CASES = {
    "standard": ({"ViewCodeSequence": [coded(CC)], "BreastImplantPresent": "NO"}, ()),
    "nipple in profile": ({"ViewCodeSequence": [coded(CC, ["442581004"])]}, ()),
    "contact factor": ({"EstimatedRadiographicMagnificationFactor": "1.05"}, ()),
    "implant": ({"BreastImplantPresent": "YES"}, ("implants",)),
    "implant displaced": ({"ViewCodeSequence": [coded(CC, ["399209000"])]}, ("implants",)),
    "implant displaced by position": ({"ViewPosition": "CCID"}, ("implants",)),
    "spot": ({"ViewCodeSequence": [coded(CC, ["399055006"])]}, ("spot_views",)),
    "spot in older code": ({"ViewCodeSequence": [coded("R-10242", ["R-102D7"])]}, ("spot_views",)),
    "magnification": (
        {"ViewCodeSequence": [coded(CC, ["399163009"])], "EstimatedRadiographicMagnificationFactor": "1.8"},
        ("spot_views", "magnified"),
    ),
    "factor alone": ({"EstimatedRadiographicMagnificationFactor": "1.5"}, ("magnified",)),
    "specimen by view": ({"ViewCodeSequence": [coded("127457009")]}, ("specimens",)),
    "specimen by body part": ({"BodyPartExamined": "BREAST SPECIMEN"}, ("specimens",)),
    "specimen by region": ({"AnatomicRegionSequence": [coded_alone("G-8300")]}, ("specimens",)),
    "tomosynthesis by class": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.3"}, ("tomosynthesis",)),
    "projection": ({"ImageType": ["ORIGINAL", "PRIMARY", "TOMO_PROJ"]}, ("tomosynthesis",)),
    "synthesized": (
        {
            "SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.3",
            "ImageType": ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "GENERATED_2D"],
        },
        ("synthesized",),
    ),
    "stereotactic": ({"ImageType": ["ORIGINAL", "PRIMARY", "STEREO_MINUS"]}, ("localization",)),
    "needle": ({"ImageType": ["ORIGINAL", "PRIMARY", "POSTFIRE_PLUS"]}, ("localization",)),
    "contrast, low energy": ({"ImageType": ["ORIGINAL", "PRIMARY", "POST_CONTRAST", "", "LOW_ENERGY"]}, ()),
    "contrast, recombined": ({"ImageType": ["DERIVED", "PRIMARY", "POST_CONTRAST", "SUBTRACTION"]}, ("subtracted",)),
    "color": ({"PhotometricInterpretation": "YBR_FULL_422"}, ("color",)),
    "gray": ({"PhotometricInterpretation": "MONOCHROME1"}, ()),
    "image type of one value": ({"ImageType": "ORIGINAL"}, ()),
    "factor that is no number": ({"EstimatedRadiographicMagnificationFactor": None}, ()),
}


@pytest.mark.parametrize(("elements", "kinds"), CASES.values(), ids=CASES)
def test_kinds(elements, kinds):
    assert read_kinds(header_of(**elements)) == kinds


@pytest.mark.parametrize("modality", ["DX", "CR", "RG"])
@pytest.mark.parametrize(("elements", "kinds"), CASES.values(), ids=CASES)
def test_other_modalities_have_no_kinds(elements, kinds, modality):
    assert read_kinds(header_of(**{**elements, "Modality": modality})) == ()
