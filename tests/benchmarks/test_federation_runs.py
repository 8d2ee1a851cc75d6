"""The in-process federation: one round by hand, controls, and figures of every kind of method."""

from __future__ import annotations

import math
from dataclasses import replace

import federation_starts
import federation_training
import pytest
import torch
from federation import Cell, run_cell
from federation_methods import parse_method
from federation_runs import Federation, owners_of, run, size_of
from federation_starts import Starts, make_network, measure_scales, train_apart
from federation_training import Plan, predict
from federation_worlds import World

from mtmedformer_monai.networks.hierarchical_transformer import TransformerSize

ONE_STEP = Plan(rounds=1, local_epochs=1, lr=0.05, optimizer="sgd", batch_size=16, max_norm=1e9)
HIDDEN = "encoder.stages.0.blocks.0.mlp.expand.weight"


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Builds a network of few weights, so that a run takes less than a second."""
    size = TransformerSize((8, 8, 16, 16), (1, 1, 1, 1), (1, 1, 2, 2), mlp_ratios=(2, 2, 2, 2))
    monkeypatch.setattr(federation_starts, "SIZE", size)


@pytest.fixture
def unmoved(monkeypatch):
    """Leaves out the augmentation, so that a step can be computed by hand."""
    monkeypatch.setattr(federation_training, "augment", lambda image, targets, generator: (image, dict(targets)))


def _stepped(world: World, site: str, lr: float):
    """Returns the weights after one step of gradient descent on the scaled losses of a site; None if not trained."""
    network = make_network(world.tasks, ONE_STEP.seed)
    scales = measure_scales(network, world.tasks, world.sites)
    data = world.sites[site]
    tasks = [task for task in world.tasks if not bool(torch.isnan(data.targets[task.name]).all())]
    network.train()
    outputs = network(data.image)
    sum(task.loss(outputs[task.name], data.targets[task.name]) / scales[task.name] for task in tasks).backward()
    return {
        name: None if value.grad is None else (value - lr * value.grad).detach()
        for name, value in network.named_parameters()
    }


@pytest.mark.parametrize(("method", "share"), [("fedavg", 6 / 8), ("fedavg:equal=true", 1 / 2)])
def test_one_round_is_the_mean_of_the_sites_steps(world, unmoved, method, share):
    federation = Federation(world.tasks, world.sites, parse_method(method), ONE_STEP)
    federation.run_round()
    found = federation.server.weights()
    one, other = (_stepped(world, site, ONE_STEP.lr) for site in ("masks", "labels"))
    for name in one:
        expected = one[name] if other[name] is None else share * one[name] + (1 - share) * other[name]
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=1e-6, msg=name)
    assert other["decoders.lung.logits.weight"] is None


def test_sites_alone_keep_their_own_steps(world, unmoved):
    federation = Federation(world.tasks, world.sites, parse_method("local"), ONE_STEP)
    federation.run_round()
    for site in world.sites:
        weights = federation.sites[site].rule.receive(federation.server.broadcast())
        for name, expected in _stepped(world, site, ONE_STEP.lr).items():
            start = make_network(world.tasks, ONE_STEP.seed).state_dict()[name] if expected is None else expected
            torch.testing.assert_close(weights[name], start, rtol=1e-4, atol=1e-6, msg=name)


def test_last_weights_are_those_before_the_average(world, unmoved):
    federation = Federation(world.tasks, world.sites, parse_method("fedavg_last"), ONE_STEP)
    federation.run_round()
    start = make_network(world.tasks, ONE_STEP.seed).state_dict()
    for site in world.sites:
        weights = federation.own_weights(site)
        for name, expected in _stepped(world, site, ONE_STEP.lr).items():
            own = start[name] if expected is None else expected
            torch.testing.assert_close(weights[name], own, rtol=1e-4, atol=1e-6, msg=name)


def test_last_weights_need_networks_of_the_sites():
    with pytest.raises(ValueError, match="expects personal=true for last=true"):
        parse_method("fedavg:last=true")
    assert parse_method("fedavg:last=true,personal=true") == parse_method("fedavg_last")


@pytest.mark.parametrize(
    "method",
    [
        "fedavg", "owners", "pooled", "local", "fedbn", "scaffold", "bayesian", "bayesian_distilled", "fisher",
        "fedprox:proximal=0.1",
    ],
)  # fmt: skip
def test_every_kind_of_method_runs(world, method):
    parsed = parse_method(method)
    plan = Plan(rounds=2, local_epochs=1, lr=1e-3, optimizer=parsed.optimizer, batch_size=4)
    found = run(world, parsed, plan)
    assert 0 <= found["dice"] <= 1
    assert found["dice"] == pytest.approx(found["lung_score"])
    assert len(found["image_dice"]["lung"]) == 4
    assert math.isnan(found["ece"]) == (method == "owners")  # it serves masks only
    assert set(found["site_scores"]) == set(world.sites)
    assert found["megabytes_down"] > 0


def test_distillation_adds_rounds(world):
    plan, traffic = Plan(rounds=2, local_epochs=1, lr=1e-3, batch_size=4), {}
    for method in ("bayesian", "bayesian_distilled"):
        traffic[method] = run(world, parse_method(method), plan)["megabytes_up"]
    assert traffic["bayesian_distilled"] > 1.3 * traffic["bayesian"]


@pytest.fixture
def apart(world):
    return train_apart(world, ONE_STEP, 2)


def test_sites_train_apart_from_weights_of_their_own(world, apart):
    start = make_network(world.tasks, ONE_STEP.seed).state_dict()
    assert list(apart) == list(world.sites)
    for one, other in ((apart["masks"], start), (apart["labels"], start), (apart["masks"], apart["labels"])):
        assert not torch.allclose(one[HIDDEN], other[HIDDEN], atol=0.05)


@pytest.mark.parametrize("start", ["largest", "own", "unaligned"])
def test_the_server_starts_from_the_largest_sites_weights(world, apart, start):
    federation = Federation(world.tasks, world.sites, parse_method(f"fedavg:start={start}"), ONE_STEP, Starts(apart))
    for name, value in federation.server.weights().items():
        torch.testing.assert_close(value, apart["masks"][name])


@pytest.mark.parametrize("start", ["largest", "own", "unaligned"])
def test_sites_start_from_the_weights_that_the_method_names(world, apart, start):
    """With a learning rate of 0, the mean of a round is that of the weights from which the sites start."""
    still = replace(ONE_STEP, lr=0.0)
    federation = Federation(
        world.tasks, world.sites, parse_method(f"fedavg:equal=true,start={start}"), still, Starts(apart)
    )
    image = world.test.data.image
    outputs = {}
    for site, weights in apart.items():
        federation.network.load_state_dict(weights)
        outputs[site] = predict(federation.network.eval(), image, ["finding"])["finding"]
    joined = {site: federation._joining.get(site) for site in world.sites}
    federation.run_round()
    mean = federation.server.weights()
    if start == "largest":
        torch.testing.assert_close(mean[HIDDEN], apart["masks"][HIDDEN])
        return
    for site, weights in joined.items():  # a permutation changes weights, not what they compute
        federation.network.load_state_dict(weights)
        torch.testing.assert_close(predict(federation.network.eval(), image, ["finding"])["finding"], outputs[site])
    assert torch.equal(joined["labels"][HIDDEN], apart["labels"][HIDDEN]) == (start == "unaligned")
    torch.testing.assert_close(mean[HIDDEN], (joined["masks"][HIDDEN] + joined["labels"][HIDDEN]) / 2)


def test_a_start_without_weights_is_refused(world):
    with pytest.raises(ValueError, match="trained alone"):
        Federation(world.tasks, world.sites, parse_method("fedavg:start=own"), ONE_STEP)


def test_all_sites_start_from_the_given_weights(world):
    """What the given network lacks, such as the decoder of a task, keeps the common initial weights."""
    other, common = (make_network(world.tasks, seed).state_dict() for seed in (7, ONE_STEP.seed))
    given = {name: value for name, value in other.items() if not name.startswith("decoders.finding")}
    starts = Starts(given=given | {"decoders.other": torch.ones(1)})
    first = Federation(world.tasks, world.sites, parse_method("fedavg:start=given"), ONE_STEP, starts)
    for name, value in first.server.weights().items():
        torch.testing.assert_close(value, given.get(name, common[name]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "use --weights"),
        ({HIDDEN: torch.ones(2, 2)}, "expects those of the study's network"),
        ({}, "expects those of the study's network"),
    ],
    ids=["none", "another size", "another network"],
)
def test_other_weights_are_refused(world, change, message):
    given = make_network(world.tasks, 7).state_dict() | change if change else change
    with pytest.raises(ValueError, match=message):
        Federation(world.tasks, world.sites, parse_method("fedavg:start=given"), ONE_STEP, Starts(given=given))


def test_federation_of_owners_is_the_owner_alone_if_there_is_one(world):
    plan = Plan(rounds=2, local_epochs=1, lr=1e-3, batch_size=4)
    owners, alone = (run(world, parse_method(name), plan) for name in ("owners", "local"))
    assert owners["lung_loss"] == pytest.approx(alone["lung_loss"], rel=1e-3)
    assert alone["best_owner_dice"] == pytest.approx(owners["dice"])


def test_owners_are_counted_by_annotated_images(world):
    assert owners_of(world.tasks, world.sites) == {"lung": {"masks": 6}, "finding": {"masks": 6, "labels": 2}}


@pytest.mark.parametrize("fine_maps", [False, True])
@pytest.mark.parametrize("task", ["lung", "finding"])
def test_outputs_of_some_tasks_are_those_of_all(world, fine_maps, task):
    network = make_network(world.tasks, 0, fine_maps).eval()
    image = world.test.data.image
    assert (network.stem is not None) == fine_maps
    torch.testing.assert_close(predict(network, image, [task]), {task: network(image)[task]})


def test_constant_tensors_count_as_one_number():
    assert size_of({"mean/w": torch.tensor([1.0, 2.0, 3.0]), "precision/w": torch.full((3,), 6.0)}) == 16


def test_sites_that_train_apart_are_shared_by_methods_with_the_same_optimizer_alone(tmp_path, monkeypatch):
    trained, started = [], []
    monkeypatch.setattr("federation_worlds.make_world", lambda *given: None)
    monkeypatch.setattr("federation_runs.run", lambda world, method, plan, on, starts: started.append(starts.apart))

    def train_apart(world, plan, epochs):
        trained.append(plan.optimizer)
        return {"optimizer": plan.optimizer}

    monkeypatch.setattr("federation_starts.train_apart", train_apart)
    for name in ("fedavg", "fedavg_sgd", "kronecker"):
        run_cell(Cell("r", 64, 0, f"{name}:start=own", 3, 3, 8, 0.01, pretrain_epochs=9), tmp_path, None)
    assert trained == ["adamw", "sgd"]
    assert [each["optimizer"] for each in started] == ["adamw", "sgd", "adamw"]
