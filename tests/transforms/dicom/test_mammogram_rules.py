import pickle

import numpy as np
import pytest

from mtmedformer_monai.transforms import LoadRadiographd, MammogramRules, RefusedImageError, read_radiograph
from mtmedformer_monai.transforms.dicom.mammogram_rules import as_rules
from mtmedformer_monai.transforms.errors import MultiFrameError

SPECIMEN = {"BodyPartExamined": "SPECIMEN"}


def test_ways_to_give_rules():
    assert as_rules(None) == as_rules({}) == MammogramRules()
    assert as_rules({"implants": "refuse"}) == MammogramRules(implants="refuse")
    rules = MammogramRules(color="pass")
    assert as_rules(rules) is rules
    assert pickle.loads(pickle.dumps(rules)) == rules


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"implant": "pass"}, "rules expects some of implants, spot_views, .*; got implant"),
        ({"implants": "maybe"}, "rule 'implants' expects 'pass', 'flag' or 'refuse', got 'maybe'"),
        ({"implants": True}, "got True"),
    ],
)
def test_invalid_rules_raise_an_error_on_construction(rules, message):
    with pytest.raises(ValueError, match=message):
        LoadRadiographd("image", rules=rules)


def test_a_refusal_names_the_rule_and_the_remedy(make_dicom):
    path = make_dicom(modality="MG", **SPECIMEN)
    with pytest.raises(RefusedImageError) as caught:
        read_radiograph(path)
    expected = "it is a specimen, and the rule is specimens='refuse'; exclude it, or admit it by "
    assert str(caught.value) == f"radiograph.dcm: {expected}rules={{'specimens': 'pass'}}."


def test_a_dict_admits_it(make_dicom):
    load = LoadRadiographd("image", rules={"specimens": "pass"})
    assert load({"image": make_dicom(modality="MG", **SPECIMEN)})["image"].shape == (1, 16, 12)


def test_other_modalities_are_read_whatever_the_rules(make_dicom):
    rules = {"specimens": "refuse", "implants": "refuse", "color": "refuse"}
    assert read_radiograph(make_dicom(modality="DX", **SPECIMEN), rules=rules)[0].shape == (16, 12)


@pytest.mark.parametrize(
    ("elements", "passes"),
    [
        ({"BreastImplantPresent": "YES"}, True),
        ({"EstimatedRadiographicMagnificationFactor": "1.8"}, True),
        ({"ImageType": ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "GENERATED_2D"]}, True),
        ({"ImageType": ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", ""]}, False),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "STEREO_PLUS"]}, False),
        ({"ImageType": ["DERIVED", "PRIMARY", "", "SUBTRACTION"]}, False),
    ],
    ids=["implant", "magnified", "synthesized", "tomosynthesis", "stereotactic", "subtracted"],
)
def test_defaults(make_dicom, elements, passes):
    path = make_dicom(modality="MG", **elements)
    if passes:
        assert read_radiograph(path)[0].shape == (16, 12)
    else:
        with pytest.raises(RefusedImageError, match="='refuse'; exclude it, or admit it"):
            read_radiograph(path)


def test_color(make_dicom):
    path = make_dicom(modality="MG", pixels=np.full((4, 4, 3), 51, dtype=np.uint8), bits=8, photometric="RGB")
    with pytest.raises(RefusedImageError, match="a mammogram in color"):
        read_radiograph(path)
    np.testing.assert_allclose(read_radiograph(path, rules={"color": "pass"})[0], 0.2, atol=1e-6)


def test_several_frames_are_refused_regardless_of_the_rules(make_dicom):
    frames = np.zeros((3, 4, 5), dtype=np.uint16)
    path = make_dicom(modality="MG", pixels=frames, ImageType=["DERIVED", "PRIMARY", "TOMOSYNTHESIS"])
    with pytest.raises(MultiFrameError, match="it has 3 frames"):
        read_radiograph(path, rules={"tomosynthesis": "pass"})
