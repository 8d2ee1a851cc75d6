import pytest

from mtmedformer_monai.data.class_conflicts import merge_classes


def datalist(*labels, **classes):
    """Creates a datalist with labels of `grade` and declared classes."""
    return {"test": [{"image": "x", "labels": {"grade": label}} for label in labels], "classes": classes}


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    [
        (datalist("low", grade=["low", "high"]), datalist("high", grade=["low", "high"]), {"grade": ["low", "high"]}),
        (datalist("low", grade=["low", "high"]), datalist("high"), {"grade": ["low", "high"]}),
        (datalist("low"), datalist(["high", "low"]), {}),
        (
            datalist("low", grade=["low", "high"]),
            datalist(kind=["a", "b"]),
            {"grade": ["low", "high"], "kind": ["a", "b"]},
        ),
        (datalist(None), {"test": [{"image": "x"}], "classes": {"0": "background"}}, {}),
    ],
    ids=["same", "one declares", "none declares", "other tasks", "another use of the key"],
)
def test_compatible_classes_are_merged(first, second, merged):
    assert merge_classes({"a": first, "b": second}) == merged


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        (
            datalist(grade=["low", "high"]),
            datalist(grade=["high", "low"]),
            r"\['low', 'high'\] in a, \['high', 'low'\] in b",
        ),
        (datalist(grade=["low", "high"]), datalist("low", "mid"), r"\['low', 'high'\] in a, but b labels \['mid'\]"),
        (datalist("low", "odd", grade=["low", "high"]), datalist(), r"in a, but a labels \['odd'\]"),
        (datalist("Low"), datalist("low"), "'Low' in a, 'low' in b"),
        (datalist(["high "]), datalist("high"), "'high ' in a, 'high' in b"),
    ],
    ids=["order", "unknown", "its own", "case", "space"],
)
def test_incompatible_classes_are_rejected(first, second, text):
    with pytest.raises(ValueError, match=f"'grade' has .*{text}"):
        merge_classes({"a": first, "b": second})


def test_all_conflicts_are_named():
    first, second = datalist(grade=["a"], kind=["x"]), datalist(grade=["b"], kind=["y"])
    with pytest.raises(ValueError, match=r"'grade' has .*; 'kind' has"):
        merge_classes({"a": first, "b": second})
