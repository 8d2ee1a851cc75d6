import numpy as np

from mtmedformer_monai.data.public.drawn_masks import annotate_lesions, read_drawn, save_mask
from mtmedformer_monai.transforms.read_mask import read_mask


def test_a_mask_is_restored(tmp_path):
    mask = np.random.default_rng(0).random((5, 7)) > 0.5
    assert np.array_equal(read_mask(save_mask(mask, tmp_path / "deep" / "m.png")), mask)


def test_lesions_are_merged_in_one_mask_and_boxed_one_by_one(tmp_path):
    first, second = np.zeros((2, 6, 8), dtype=bool)
    first[1:3, 2:5] = second[2:6, 4:8] = True
    annotations = annotate_lesions([first, second], (6, 8), tmp_path / "m.png")
    assert annotations["boxes"] == {"lesion": [[2, 1, 5, 3], [4, 2, 8, 6]]}
    assert annotations["masks"] == {"lesion": str(tmp_path / "m.png")}
    assert np.array_equal(read_mask(tmp_path / "m.png"), first | second)


def test_an_image_with_a_lesion_without_pixels_is_not_annotated(tmp_path):
    first, nothing = np.zeros((2, 6, 8), dtype=bool)
    first[1:3, 2:5] = True
    assert annotate_lesions([first, nothing], (6, 8), tmp_path / "m.png") == {}
    assert annotate_lesions([nothing], (6, 8), tmp_path / "m.png") == {}
    assert not (tmp_path / "m.png").exists()


def test_an_empty_mask_is_not_an_annotation(tmp_path):
    (tmp_path / "blank.png").touch()
    assert read_drawn(tmp_path / "blank.png") is None
    assert read_drawn(save_mask(np.zeros((2, 2), dtype=bool), tmp_path / "m.png")) is None
    assert read_drawn(save_mask(np.eye(2, dtype=bool), tmp_path / "m.png")).sum() == 2


def test_no_lesion_is_an_empty_mask_and_no_box(tmp_path):
    assert annotate_lesions([], (6, 8), tmp_path / "m.png")["boxes"] == {"lesion": []}
    assert read_mask(tmp_path / "m.png").shape == (6, 8)
    assert not read_mask(tmp_path / "m.png").any()
