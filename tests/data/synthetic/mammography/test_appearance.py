from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from mtmedformer_monai.data.synthetic.mammography.appearance import PADDING_LIMIT, take_image
from mtmedformer_monai.data.synthetic.mammography.scanner import MAMMOGRAPHY_SCANNERS

NAMES = [scanner.name for scanner in MAMMOGRAPHY_SCANNERS]


def quiet(scanner):
    return replace(scanner, receptor=replace(scanner.receptor, noise=0.0, blur_mm=0.0))


@pytest.mark.parametrize("scanner", MAMMOGRAPHY_SCANNERS, ids=NAMES)
def test_denser_is_brighter_except_in_a_raw_image(tissue, scanner):
    shot, attenuation = tissue
    values = take_image(shot, attenuation, quiet(scanner), np.random.default_rng(0)).values
    inside = shot.depth > 0.5 * shot.breast.thickness
    agreement = stats.spearmanr(attenuation[inside], values[inside]).statistic
    assert agreement * (-1 if scanner.is_raw else 1) > 0.95
    assert 0.0 <= values.min() < values.max() <= 1.0


def test_raw_values_are_linear_in_the_dose_and_highest_in_air(tissue):
    shot, attenuation = tissue
    scanner = quiet(next(scanner for scanner in MAMMOGRAPHY_SCANNERS if scanner.is_raw))
    appearance = take_image(shot, attenuation, scanner, np.random.default_rng(0))
    inside = shot.depth > 0.5 * shot.breast.thickness
    assert appearance.windows == ()
    assert appearance.values[~shot.mask].min() > appearance.values[inside].max()
    assert np.corrcoef(np.exp(-attenuation[inside]), appearance.values[inside])[0, 1] > 0.999


@pytest.mark.parametrize("scanner", MAMMOGRAPHY_SCANNERS, ids=NAMES)
def test_the_appearance_is_determined_by_the_seed(tissue, scanner):
    first, same, other = (take_image(*tissue, scanner, np.random.default_rng(seed)).values for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_padding_covers_the_background_and_not_the_breast(tissue):
    shot, attenuation = tissue
    for scanner in MAMMOGRAPHY_SCANNERS:
        if scanner.display.has_padding:
            stored = take_image(shot, attenuation, scanner, np.random.default_rng(0)).values
            stored = np.round(stored * (2**scanner.display.bits_stored - 1))
            assert stored[shot.mask].min() > PADDING_LIMIT
            assert (stored[:, -4:] == 0).all()


def test_equalizing_brightens_the_rim(tissue):
    shot, attenuation = tissue
    rim = shot.mask & (shot.depth < 8.0)
    inside = shot.depth > 0.5 * shot.breast.thickness
    gaps = []
    for equalize in (0.0, 0.9):
        scanner = quiet(MAMMOGRAPHY_SCANNERS[0])
        scanner = replace(scanner, display=replace(scanner.display, equalize=equalize))
        values = take_image(shot, attenuation, scanner, np.random.default_rng(0)).values
        gaps.append(np.median(values[inside]) - np.median(values[rim]))
    assert gaps[1] < 0.5 * gaps[0]


def test_a_film_has_no_black_and_grain(tissue):
    shot, attenuation = tissue
    film = next(scanner for scanner in MAMMOGRAPHY_SCANNERS if scanner.is_film)
    values = take_image(shot, attenuation, quiet(film), np.random.default_rng(0)).values
    beside = values[30:130, -20:]
    assert beside.mean() > 0.015
    assert beside.std() > 0.004


def test_devices_have_unique_names_and_include_every_kind():
    assert len(set(NAMES)) == len(NAMES)
    displays = [scanner.display for scanner in MAMMOGRAPHY_SCANNERS]
    assert {display.voi for display in displays} == {"LUT", "SIGMOID", "LINEAR", ""}
    assert {display.photometric for display in displays} == {"MONOCHROME1", "MONOCHROME2"}
    assert {scanner.is_mirrored for scanner in MAMMOGRAPHY_SCANNERS} == {True, False}
