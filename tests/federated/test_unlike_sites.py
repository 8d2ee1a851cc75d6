"""Sites that are unlike in their classes and in their number of images train one network for all classes."""

from __future__ import annotations

import pytest
import torch
from monai.fl.utils.constants import ExtraItems
from torch import nn

from mtmedformer_monai.federated.aggregator import Aggregator
from mtmedformer_monai.federated.client.bayesian_monai_algo import BayesianMonaiAlgo
from mtmedformer_monai.federated.exchange import IMAGES_BY_TASK
from mtmedformer_monai.federated.strategies import make_strategy
from tests.federated.rounds import run_rounds, weights_of
from tests.federated.tiny_bundle import TRAIN, write_bundle

CLASSES = ["fatty", "mixed", "dense"]
CONFIG = {
    "device": "$torch.device('cpu')",
    "bundle_root": ".",
    "known": CLASSES,
    "count": 20,
    "tasks": [
        {
            "_target_": "mtmedformer_monai.tasks.ClassificationTask",
            "name": "density",
            "classes": CLASSES,
            "dropout": 0.0,
        }
    ],
    "loss_tasks": {
        "_target_": "mtmedformer_monai.federated.client.class_union.restrict_tasks",
        "tasks": "@tasks",
        "known": "$dict(density=@known)",
    },
    "network": {"_target_": "tests.federated.test_unlike_sites.Linear"},
    "loss": {"_target_": "mtmedformer_monai.losses.HybridLoss", "tasks": "@loss_tasks", "normalize": False},
    "optimizer": {"_target_": "torch.optim.SGD", "params": "$@network.parameters()", "lr": 1.0},
    "train": {
        "dataset": {"_target_": "tests.federated.test_unlike_sites.Spots", "known": "@known", "count": "@count"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@train#dataset", "batch_size": 10, "shuffle": True},
        "inferer": TRAIN["train"]["inferer"],
        "handlers": [],
        "trainer": {
            **TRAIN["train"]["trainer"],
            "prepare_batch": {"_target_": "mtmedformer_monai.engines.PrepareMultiTaskBatch", "tasks": "@loss_tasks"},
            "decollate": False,
        },
    },
}


class Linear(nn.Module):
    """Maps (B, 3) to the logits of three classes."""

    def __init__(self):
        super().__init__()
        self.logits = nn.Linear(3, 3)
        nn.init.zeros_(self.logits.weight)

    def forward(self, image):
        return {"density": self.logits(image)}


class Spots(torch.utils.data.Dataset):
    """Noisy vectors; the brightest of three numbers is the class, one of the known ones in turn."""

    def __init__(self, known, count, seed=0):
        indices = torch.tensor([CLASSES.index(known[i % len(known)]) for i in range(count)])
        noise = 0.3 * torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))
        self.images, self.targets = torch.eye(3)[indices] + noise, indices.float()
        self.data = [{"image": f"{i}.png", "labels": {"density": CLASSES[int(c)]}} for i, c in enumerate(indices)]

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return {"image": self.images[index], "density": self.targets[index]}


@pytest.fixture(params=["fedavg", "bayesian"])
def federation(request, tmp_path):
    """Returns the server, and a site with 20 images and one with 2,000, which have one class in common."""
    strategy, sites = make_strategy(request.param), []
    for name, known, count in (("small", CLASSES[:2], 20), ("large", CLASSES[1:], 2000)):
        root, own = write_bundle(tmp_path / name, CONFIG), {"known": known, "count": count}
        sites.append(BayesianMonaiAlgo(root, strategy=strategy, train_kwargs=own))
        sites[-1].initialize({ExtraItems.CLIENT_NAME: name})
    return Aggregator(strategy, weights_of(sites[0])), sites


def test_no_site_knows_all_classes_but_the_network_does(federation):
    server, sites = federation
    run_rounds(server, sites, 8)
    counts = [each.get_data_stats().statistics[IMAGES_BY_TASK] for each in sites]
    assert counts == [{"density": 20}, {"density": 2000}]

    new = Spots(CLASSES, 300, seed=1)
    network = Linear()
    network.load_state_dict(server.weights())
    found = network(new.images)["density"].argmax(dim=1)
    recall = [float((found[new.targets == index] == index).float().mean()) for index in range(len(CLASSES))]
    assert min(recall) > 0.6  # 1 in 3 by chance; 0 if the large site's untrained row counts by its 2,000 images


def test_a_class_that_one_site_knows_has_this_sites_weights(federation):
    server, sites = federation
    before = server.weights()["logits.weight"].clone()
    run_rounds(server, sites, 1)
    small, large = (weights_of(each)["logits.weight"] for each in sites)
    assert torch.equal(large[0], before[0])  # it got no gradient
    found = server.weights()["logits.weight"]
    moved = (found - before).norm(dim=1)
    assert moved[0] > 0.9 * (small - before)[0].norm()
    assert moved[2] > 0.9 * (large - before)[2].norm()
