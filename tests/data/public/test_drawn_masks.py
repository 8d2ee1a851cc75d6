import numpy as np

from mtmedformer_monai.data.public.drawn_masks import annotate_lesions, save_mask
from mtmedformer_monai.transforms.read_mask import read_mask


def test_a_mask_comes_back(tmp_path):
    mask = np.random.default_rng(0).random((5, 7)) > 0.5
    assert np.array_equal(read_mask(save_mask(mask, tmp_path / "deep" / "m.png")), mask)


def test_lesions_are_merged_in_one_mask_and_boxed_one_by_one(tmp_path):
    first, second, nothing = np.zeros((3, 6, 8), dtype=bool)
    first[1:3, 2:5] = second[2:6, 4:8] = True
    annotations = annotate_lesions([first, second, nothing], (6, 8), tmp_path / "m.png")
    assert annotations["boxes"] == {"lesion": [[2, 1, 5, 3], [4, 2, 8, 6]]}
    assert annotations["masks"] == {"lesion": str(tmp_path / "m.png")}
    assert np.array_equal(read_mask(tmp_path / "m.png"), first | second)


def test_no_lesion_is_an_empty_mask_and_no_box(tmp_path):
    assert annotate_lesions([], (6, 8), tmp_path / "m.png")["boxes"] == {"lesion": []}
    assert read_mask(tmp_path / "m.png").shape == (6, 8)
    assert not read_mask(tmp_path / "m.png").any()
