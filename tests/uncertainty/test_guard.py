import json

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf
from torch import nn

from mtmedformer_monai.keys import GUARD, IMAGE, PRED, REFUSED
from mtmedformer_monai.networks import HierarchicalTransformer, MTMedFormer
from mtmedformer_monai.tasks import ClassificationTask
from mtmedformer_monai.uncertainty.augmented import AugmentedInferer
from mtmedformer_monai.uncertainty.guard import (
    conformal_limit,
    fit_guard,
    guard_path,
    load_guard,
    pool_features,
    save_guard,
    tap_encoder,
)
from mtmedformer_monai.uncertainty.guarded_inferer import GuardedInferer, GuardImaged

FEATURES = torch.randn(200, 6, generator=torch.Generator().manual_seed(0)) @ torch.diag(torch.arange(1.0, 7.0))
TASKS = [ClassificationTask("finding", ["a", "b"], "binary")]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return MTMedFormer(HierarchicalTransformer("tiny"), TASKS, pyramid_width=16).eval()


@pytest.fixture
def weights(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


def dim_images():
    return 0.2 * torch.rand(60, 1, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def guarded(weights, network):
    """Weights with a guard of dim images of noise."""
    with torch.no_grad(), tap_encoder(network) as features:
        network(dim_images())
    save_guard(fit_guard(features[0][:40], features[0][40:], 0.1), weights)
    return weights


def test_distance_agrees_with_scipy_and_scikit_learn():
    guard = fit_guard(FEATURES[:150], FEATURES[150:], 0.1)
    fitted = LedoitWolf().fit(FEATURES[:150].numpy())
    inverse = np.linalg.inv(fitted.covariance_)
    expected = [mahalanobis(row, fitted.location_, inverse) / np.sqrt(6) for row in FEATURES[150:].numpy()]
    np.testing.assert_allclose(guard.distance(FEATURES[150:]).numpy(), expected, rtol=1e-4)
    assert (guard.num_training, guard.num_validation, guard.false_alarm_rate) == (150, 50, 0.1)


def test_distance_does_not_depend_on_the_units_of_the_features():
    units = 7.0 * torch.eye(6)
    one, other = (fit_guard(f[:150], f[150:], 0.1) for f in (FEATURES, FEATURES @ units))
    torch.testing.assert_close(one.distance(FEATURES), other.distance(FEATURES @ units), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("rate", "expected"), [(0.1, 18.0), (0.05, 19.0), (0.5, 10.0)])
def test_limit_is_the_rank_by_hand(rate, expected):
    assert conformal_limit(torch.arange(1.0, 20.0).flip(0), rate) == expected


def test_new_images_exceed_the_limit_as_often_as_stated():
    generator = torch.Generator().manual_seed(3)
    shares = []
    for _ in range(300):
        limit = conformal_limit(torch.rand(39, generator=generator), 0.1)
        shares.append(1.0 - limit)  # of uniform distances
    assert np.mean(shares) == pytest.approx(0.1, abs=0.01)  # standard error 0.003


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: conformal_limit(torch.rand(18), 0.05), "19 or more validation images, got 18"),
        (lambda: fit_guard(FEATURES, FEATURES, 0.0), "false_alarm_rate expects a number between 0 and 1"),
        (lambda: fit_guard(FEATURES[:1], FEATURES, 0.1), "two or more training images, got 1"),
        (lambda: fit_guard(FEATURES, FEATURES, 0.1).distance(FEATURES[:, :5]), "expects 6 features .*, got 5"),
    ],
    ids=["few", "rate", "training", "features"],
)
def test_wrong_input_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_features_are_means_of_channels():
    maps = [torch.arange(8.0).reshape(1, 2, 2, 2), torch.full((1, 1, 1, 1), 9.0)]
    assert pool_features(maps).tolist() == [[1.5, 5.5, 9.0]]


def test_file_returns_and_belongs_to_its_weights(weights, network):
    guard = fit_guard(FEATURES[:150], FEATURES[150:], 0.1)
    assert save_guard(guard, weights) == weights.with_name("guard.pt")
    loaded = load_guard(weights)
    assert torch.equal(loaded.whitening, guard.whitening)
    assert loaded.limit == guard.limit
    torch.save({"other": torch.zeros(1)}, weights)
    with pytest.raises(ValueError, match=r"other weights than model.pt.*mtmedformer calibrate --ckpt.*--guard off"):
        load_guard(weights)


def test_other_files_are_refused(weights):
    torch.save({"weight": torch.ones(1)}, guard_path(weights))
    with pytest.raises(ValueError, match="written by save_guard"):
        load_guard(weights)


def run(network, weights, image, mode="flag", **options):
    outputs = GuardedInferer(weights, mode, **options)(image, network)
    item = {IMAGE: MetaTensor(image[0], meta={"flags": "not verified"}), PRED: {k: v[0] for k, v in outputs.items()}}
    return GuardImaged(mode)(item)


@pytest.mark.parametrize("inferer", [None, AugmentedInferer(TASKS)], ids=["one pass", "several passes"])
def test_a_bright_image_is_flagged_and_a_dim_one_is_not(network, guarded, inferer):
    dim = dim_images()[:1]  # of the training images
    known, strange = (run(network, guarded, image, inferer=inferer) for image in (dim, 1.0 - dim))
    assert not known[GUARD]["unusual"]
    assert known[IMAGE].meta["flags"] == "not verified"
    assert strange[GUARD]["unusual"]
    assert strange[GUARD]["distance"] > strange[GUARD]["limit"] == pytest.approx(load_guard(guarded).limit, abs=1e-4)
    assert strange[IMAGE].meta["flags"].startswith("not verified; unlike the training images (distance ")
    assert REFUSED not in strange
    with torch.no_grad():
        torch.testing.assert_close(strange[PRED]["finding"], network(1.0 - dim)["finding"][0])
    assert not any(name.startswith(GUARD) for name in strange[PRED])
    json.dumps(strange[GUARD])


def test_refusal_names_the_remedy(network, guarded):
    strange = run(network, guarded, torch.ones(1, 1, 64, 64), "refuse")
    assert "--guard flag" in strange[REFUSED]


def test_without_a_guard_only_refuse_is_an_error(network, weights):
    image = torch.rand(1, 1, 64, 64)
    assert GUARD not in run(network, weights, image)
    assert GUARD not in run(network, weights, image, "off")
    with pytest.raises(FileNotFoundError, match="mtmedformer calibrate"):
        run(network, weights, image, "refuse")


@pytest.mark.parametrize("make", [lambda: GuardedInferer("model.pt", "on"), lambda: GuardImaged("on")])
def test_unknown_modes_are_refused(make):
    with pytest.raises(ValueError, match=r"guard expects one of .* got 'on'"):
        make()


def test_a_network_without_encoder_is_refused():
    with pytest.raises(ValueError, match="network with an encoder, got Linear"), tap_encoder(nn.Linear(1, 1)):
        pass
