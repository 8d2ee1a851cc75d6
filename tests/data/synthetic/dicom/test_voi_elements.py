import numpy as np
import pytest
from pydicom.dataset import Dataset

from mtmedformer_monai.data.synthetic.dicom.voi_elements import add_windows
from mtmedformer_monai.data.synthetic.mammography.appearance import Window
from mtmedformer_monai.data.synthetic.mammography.scanner import Display
from mtmedformer_monai.transforms.dicom.grayscale.voi_lut import apply_voi_lut

WINDOWS = (Window(0.4, 0.5, "NORMAL"), Window(0.45, 0.3, "HARDER"))


def elements(voi, photometric="MONOCHROME2", windows=WINDOWS):
    data = Dataset()
    data.PixelRepresentation = 0
    add_windows(data, windows, Display(photometric, 12, voi))
    return data


def test_a_linear_window_spans_its_width():
    data = elements("LINEAR", windows=WINDOWS[:1])
    assert (data.VOILUTFunction, data.WindowCenter, data.WindowWidth) == ("LINEAR", round(0.4 * 4095), round(2047.5))
    assert "VOILUTSequence" not in data
    shown = apply_voi_lut(4095 * np.array([0.1, 0.15, 0.4, 0.65, 0.7]), data)
    np.testing.assert_allclose(shown, [0, 0, 0.5, 1, 1], atol=2e-3)


def test_monochrome1_inverts_the_window():
    upright, inverse = elements("SIGMOID"), elements("SIGMOID", "MONOCHROME1")
    values = np.arange(0, 4096, 64)
    np.testing.assert_allclose(apply_voi_lut(4095 - values, inverse), 1 - apply_voi_lut(values, upright), atol=2e-3)


@pytest.mark.parametrize("index", [0, 1])
def test_tables_agree_with_their_sigmoid_windows(index):
    data = elements("LUT")
    assert [item.LUTExplanation for item in data.VOILUTSequence] == list(data.WindowCenterWidthExplanation)
    values = np.arange(500, 4096, 7)
    by_table = apply_voi_lut(values, data, index)
    del data.VOILUTSequence
    np.testing.assert_allclose(by_table, apply_voi_lut(values, data, index), atol=2e-4)
