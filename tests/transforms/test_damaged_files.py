import contextlib
import re
import warnings
from dataclasses import fields

import numpy as np
import pytest

from mtmedformer_monai.transforms import AnnotationError, MammogramRules, RadiographError, read_radiograph
from mtmedformer_monai.transforms.read_mask import read_mask
from tests.transforms.damaged_files import make_seeds, mutate

ALL_PASS = {field.name: "pass" for field in fields(MammogramRules)}


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    return make_seeds(tmp_path_factory.mktemp("seeds"))


def is_read(path):
    """Returns whether a file can be read; undocumented errors are not caught."""
    try:
        image, _ = read_radiograph(path, "any", rules=ALL_PASS)
    except RadiographError as error:
        message = str(error)
    else:
        message = ""
    assert not re.search("Doe|MRN", message)
    if message:
        return False
    assert image.ndim == 2
    assert image.dtype == np.float32
    assert 0.0 <= image.min() <= image.max() <= 1.0
    return True


@pytest.mark.parametrize("kind", [".dcm", ".png", ".jpg", ".nii", ".gz", ".npy"])
def test_damaged_files_are_read_or_refused(tmp_path, seeds, kind):
    random = np.random.default_rng(20)
    names = [name for name in seeds if name.endswith(kind)]
    outcomes = []
    for index in range(200 if kind == ".dcm" else 60):
        name = names[index % len(names)]
        path = tmp_path / name
        path.write_bytes(mutate(name, seeds, random))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcomes.append(is_read(path))
            if kind != ".dcm":
                read_as_mask(path)
    assert not all(outcomes)
    assert any(outcomes) or kind == ".npy"  # a mask is not a radiograph


def read_as_mask(path):
    with contextlib.suppress(RadiographError, AnnotationError):
        assert read_mask(path).dtype == bool


def test_valid_files_are_read(tmp_path, seeds):
    for name, data in seeds.items():
        (tmp_path / name).write_bytes(data)
        assert name.endswith(".npy") or is_read(tmp_path / name)
