import numpy as np
import pytest
from scipy import ndimage

from mtmedformer_monai.data.synthetic.chest.opacities import MASK_LEVEL, MIN_AREA, bacterial, healthy, viral
from mtmedformer_monai.data.synthetic.chest.phantom import draw_patient, make_grid, make_lungs

SHAPE = (54, 48)


def make(kind, seed):
    rng = np.random.default_rng(seed)
    patient = draw_patient(rng)
    x, y = make_grid(SHAPE, patient)
    lungs = make_lungs(x, y, patient, rng)
    return kind(x, y, lungs, rng), lungs


def test_a_healthy_chest_has_no_opacities():
    disease = healthy((3, 4))
    assert (disease.attenuation.sum(), disease.mask.any(), disease.boxes) == (0.0, False, [])


@pytest.mark.parametrize(("kind", "seed"), [(bacterial, 0), (bacterial, 1), (viral, 2), (viral, 3)])
def test_boxes_are_the_connected_components_of_a_mask_within_the_lungs(kind, seed):
    disease, lungs = make(kind, seed)
    assert not (disease.mask & ~lungs.mask).any()
    labels, count = ndimage.label(disease.mask, structure=np.ones((3, 3)))
    assert count == len(disease.boxes) > 0
    for number, (x1, y1, x2, y2) in enumerate(disease.boxes, start=1):
        rows, columns = np.nonzero(labels == number)
        assert (x1, y1, x2, y2) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert len(rows) >= MIN_AREA * disease.mask.size


@pytest.mark.parametrize(("kind", "seed"), [(bacterial, 4), (viral, 5)])
def test_opacities_add_density_where_the_mask_is(kind, seed):
    disease, _ = make(kind, seed)
    assert disease.attenuation.min() >= 0
    assert disease.attenuation[disease.mask].mean() > 5 * disease.attenuation[~disease.mask].mean()


@pytest.mark.parametrize("seed", range(2))
def test_the_faint_rim_is_not_annotated(seed):
    disease, _ = make(bacterial, seed)
    strong = disease.attenuation > MASK_LEVEL * disease.attenuation.max()
    assert strong[disease.mask].mean() > 0.98  # the rest are holes that were filled


@pytest.mark.parametrize("seed", range(2))
def test_viral_opacities_affect_both_lungs(seed):
    disease, lungs = make(viral, seed)
    assert all((disease.attenuation * lung).max() > 0.05 for lung in lungs.masks)


@pytest.mark.parametrize("kind", [bacterial, viral])
def test_opacities_are_determined_by_the_seed(kind):
    first, same, other = (make(kind, seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.attenuation, same.attenuation)
    np.testing.assert_array_equal(first.mask, same.mask)
    assert first.boxes == same.boxes != other.boxes


def test_bacterial_opacities_are_denser_fewer_and_more_often_in_one_lung():
    found = {kind: [make(kind, seed) for seed in range(16)] for kind in (bacterial, viral)}
    parts = {kind: np.mean([len(disease.boxes) for disease, _ in pairs]) for kind, pairs in found.items()}
    density = {
        kind: np.mean([disease.attenuation[disease.mask].mean() for disease, _ in pairs])
        for kind, pairs in found.items()
    }
    sided = {
        kind: np.mean([any(not (disease.mask & lung).any() for lung in lungs.masks) for disease, lungs in pairs])
        for kind, pairs in found.items()
    }
    assert density[bacterial] > 1.2 * density[viral]
    assert parts[bacterial] < 0.6 * parts[viral]
    assert sided[bacterial] > 0.5 > sided[viral]
