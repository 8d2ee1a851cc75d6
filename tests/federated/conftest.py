from __future__ import annotations

import pytest
from monai.fl.utils.constants import ExtraItems

from mtmedformer_monai.federated.client.bayesian_monai_algo import BayesianMonaiAlgo
from mtmedformer_monai.federated.strategies.fedavg import FedAvg
from tests.federated.tiny_bundle import write_bundle


@pytest.fixture
def stock(tmp_path):
    """Builds a client of the stock bundle."""
    root = write_bundle(tmp_path / "bundle")

    def make(strategy=None, name="site_1", **others):
        site = BayesianMonaiAlgo(root, strategy or FedAvg(), **others)
        site.initialize({ExtraItems.CLIENT_NAME: name})
        return site

    return make
