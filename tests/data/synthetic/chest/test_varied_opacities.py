import numpy as np
import pytest
from scipy import ndimage

from mtmedformer_monai.data.synthetic.chest.opacities import MIN_AREA, blob
from mtmedformer_monai.data.synthetic.chest.phantom import Lungs, make_grid
from mtmedformer_monai.data.synthetic.chest.varied_opacities import varied_bacterial, varied_viral
from mtmedformer_monai.data.synthetic.chest.varied_phantom import draw_varied_patient, make_varied_chest

SHAPE = (80, 72)
KINDS = (varied_bacterial, varied_viral)


def make(kind, seed):
    rng = np.random.default_rng(seed)
    patient = draw_varied_patient(rng)
    x, y = make_grid(SHAPE, patient)
    lungs, _ = make_varied_chest(x, y, patient, rng)
    return kind(x, y, lungs, rng), lungs


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_boxes_are_the_parts_of_a_mask_within_the_lungs(kind, seed):
    disease, lungs = make(kind, seed)
    assert not (disease.mask & ~lungs.mask).any()
    labels, count = ndimage.label(disease.mask, structure=np.ones((3, 3)))
    assert count == len(disease.boxes)
    for number, (x1, y1, x2, y2) in enumerate(disease.boxes, start=1):
        rows, columns = np.nonzero(labels == number)
        assert (x1, y1, x2, y2) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert len(rows) >= MIN_AREA * disease.mask.size


@pytest.mark.parametrize("kind", KINDS)
def test_every_patient_has_an_opacity(kind):
    assert all(make(kind, seed)[0].attenuation.any() for seed in range(80))


@pytest.mark.parametrize("kind", KINDS)
def test_most_patients_have_an_opacity_that_adds_density_inside_its_outline(kind):
    found = [make(kind, seed) for seed in range(24)]
    ill = [(disease, lungs) for disease, lungs in found if disease.mask.any()]
    assert len(ill) >= 22  # a few opacities are smaller than the smallest outline
    for disease, lungs in ill:
        assert disease.attenuation.min() >= 0
        outside = lungs.mask & ~disease.mask
        beside = disease.attenuation[outside].mean() if outside.any() else 0.0
        assert disease.attenuation[disease.mask].mean() > 1.5 * beside


def test_extent_and_density_vary_widely():
    found = [make(kind, seed) for kind in KINDS for seed in range(24)]
    shares = [disease.mask.sum() / lungs.mask.sum() for disease, lungs in found if disease.mask.any()]
    densities = [disease.attenuation.max() for disease, _ in found if disease.mask.any()]
    assert min(shares) < 0.15 < 0.6 < max(shares)
    assert min(densities) < 0.25 < 0.6 < max(densities)


def test_many_outlines_reach_the_border_of_the_lung():
    reached = 0
    for seed in range(24):
        disease, lungs = make(varied_viral, seed)
        border = lungs.mask & ~ndimage.binary_erosion(lungs.mask)
        reached += (disease.mask & border).sum() > 0.2 * border.sum()
    assert reached >= 8


@pytest.mark.parametrize("kind", KINDS)
def test_few_outlines_contain_what_heart_and_mediastinum_cover(kind):
    found = [make(kind, seed) for seed in range(40)]
    covered = [(disease.mask & ~lungs.free).any() for disease, lungs in found if disease.mask.any()]
    assert 1 <= sum(covered) <= 12


@pytest.mark.parametrize("kind", KINDS)
def test_equal_seeds_make_equal_opacities(kind):
    np.testing.assert_array_equal(make(kind, 1)[0].attenuation, make(kind, 1)[0].attenuation)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("present", [(False, False), (True, False)], ids=["no lung", "one lung"])
def test_lungs_outside_of_the_image_have_no_opacities(kind, present):
    x, y = np.meshgrid(np.linspace(-1, 1, 40, dtype=np.float32), np.linspace(0, 1, 48, dtype=np.float32))
    whole = (np.hypot((x + 0.5) / 0.3, (y - 0.5) / 0.4) < 1.0, np.hypot((x - 0.5) / 0.3, (y - 0.5) / 0.4) < 1.0)
    masks = tuple(mask & kept for mask, kept in zip(whole, present, strict=True))
    lungs = Lungs(masks, (masks[0] | masks[1]).astype(np.float32))
    for seed in range(6):
        disease = kind(x, y, lungs, np.random.default_rng(seed))
        assert np.isfinite(disease.attenuation).all()
        assert not (disease.mask & ~lungs.mask).any()


def test_a_patch_is_centered_in_its_place_and_cut_off_at_the_lung():
    x, y = np.meshgrid(np.linspace(-1, 1, 64, dtype=np.float32), np.linspace(0, 1, 64, dtype=np.float32))
    lung = np.abs(x) < 0.6
    place = lung & (y > 0.8)
    patch = blob(x, y, place, 0.3, 0.2, np.random.default_rng(0), lung)
    assert not patch[~lung].any()
    assert patch[lung & ~place].any()
    assert patch[place].mean() > patch[lung & (y < 0.4)].mean()
