"""Flower's server app and client apps train the same global model as our simulation, and survive failing sites."""

from __future__ import annotations

import json

import pytest
import torch
import yaml

from mtmedformer_monai.cli.main import main
from mtmedformer_monai.data.synthetic.cohorts import make_cohort
from mtmedformer_monai.federated.simulation import SimulationSettings
from mtmedformer_monai.federated.simulation.cohort import prepare_data
from tests.bundles.conftest import ROOT
from tests.federated.flower.answering_grid import AnsweringGrid
from tests.federated.simulation.conftest import SMALL

pytest.importorskip("flwr", reason="Flower is not installed: pip install 'mtmedformer-monai[flower]'")

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from mtmedformer_monai.federated.flower.client_app import SITE_FILE
from mtmedformer_monai.federated.flower.client_app import app as client_app
from mtmedformer_monai.federated.flower.messages import ENTRIES, STEP, TRAIN
from mtmedformer_monai.federated.flower.server_app import NUM_SITES, SERVER_FILE
from mtmedformer_monai.federated.flower.server_app import app as server_app

BUNDLE = ROOT / "bundles/chest_xray_multitask"
OVERRIDES = {"network_def#encoder#size": SMALL, "image_size": [32, 32]}


class LocalGrid(AnsweringGrid):
    """Flower's grid with all nodes in this process: passes each message to the client app of its node."""

    def __init__(self, files):
        super().__init__()
        self.files = dict(enumerate(files, start=1))
        self.fail = lambda node, message: False

    def get_node_ids(self):
        return list(self.files)

    def answer(self, message):
        node = message.metadata.dst_node_id
        context = Context(1, node, {SITE_FILE: str(self.files[node])}, RecordDict(), {})
        if self.fail(node, message):
            return Message(Error(0, "out of memory"), reply_to=message)
        return client_app(message, context)


@pytest.fixture(autouse=True)
def _task(monkeypatch):
    """Sets the identity that Flower gives to a server app's process."""
    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


@pytest.fixture
def consortium(tmp_path):
    """Writes a file of two sites, their own files and the server's."""
    cohort = make_cohort("chest", tmp_path / "cohort", 14, image_size=64, seed=0)
    chosen = SimulationSettings(BUNDLE, tmp_path / "parts", num_sites=2, datalist=cohort, partition="tasks")
    lists = prepare_data(chosen).sites
    sites = [{"name": name, "datalist": str(path), "overrides": OVERRIDES} for name, path in lists.items()]
    (tmp_path / "sites.yaml").write_text(yaml.safe_dump({"sites": sites}))
    for site in [*sites, {"name": "server", "output": str(tmp_path / "server"), "overrides": OVERRIDES}]:
        (tmp_path / f"{site['name']}.yaml").write_text(yaml.safe_dump(site | {"bundle": str(BUNDLE)}))
    return tmp_path


def _config(folder, **more):
    return {SERVER_FILE: str(folder / "server.yaml"), NUM_SITES: 2, "num-rounds": 2, "local-epochs": 1, **more}


def _run(grid, folder, **more):
    server_app(grid, Context(1, 0, {}, RecordDict(), _config(folder, **more)))


def _grid(folder):
    return LocalGrid([folder / "site_1.yaml", folder / "site_2.yaml"])


@pytest.fixture
def _one_thread(monkeypatch):
    """Makes sums of floats independent of the number of cores, in this process and in those of the simulation."""
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_one_thread")
def test_flower_trains_the_same_global_model_as_the_simulation(consortium):
    _run(_grid(consortium), consortium)
    rounds = ["--rounds", "2", "--local-epochs", "1"]
    common = ["--bundle", str(BUNDLE), "--sites", str(consortium / "sites.yaml"), *rounds]
    small = ["--image-size", "32", "--override", f"network_def#encoder#size={json.dumps(SMALL)}"]
    assert main(["federate", "simulate", *common, *small, "--baselines", "--output", str(consortium / "ours")]) == 0
    names = [path.name for path in sorted((consortium / "ours/bayesian").glob("model*.pt"))]
    assert len(names) == 3
    for name in names:
        expected = torch.load(consortium / "ours/bayesian" / name, weights_only=True)
        found = torch.load(consortium / "server/models" / name, weights_only=True)
        assert found.keys() == expected.keys()
        for tensor, value in expected.items():
            torch.testing.assert_close(found[tensor], value, rtol=0, atol=1e-6, msg=tensor)


def test_a_round_goes_on_without_a_site_that_fails_and_the_next_app_resumes(consortium):
    grid = _grid(consortium)
    grid.fail = lambda node, message: node == 2 and message.content[ENTRIES][STEP] == TRAIN
    with pytest.raises(RuntimeError, match=r"round 1: the messages of 2 sites are needed, got 1.*site_2.*see its log"):
        _run(grid, consortium)
    grid.fail = lambda node, message: node == 1 and message.content[ENTRIES][STEP] == TRAIN
    with pytest.raises(RuntimeError, match="round 2"):
        _run(grid, consortium)  # the message of site 1 in round 1 is kept
    grid.fail = lambda node, message: False
    _run(grid, consortium)
    assert (consortium / "server/models/model.pt").is_file()
    whole = torch.load(consortium / "server/models/model.pt", weights_only=True)
    assert all(bool(torch.isfinite(value).all()) for value in whole.values())


def test_a_second_node_with_the_same_name_is_refused(consortium):
    grid = LocalGrid([consortium / "site_1.yaml", consortium / "site_1.yaml"])
    with pytest.raises(RuntimeError, match=r"initial losses: the messages of 2 sites .*another node"):
        _run(grid, consortium)


def test_a_node_without_its_file_is_told_how_to_name_it(consortium):
    grid = LocalGrid([consortium / "site_1.yaml", consortium / "missing.yaml"])
    with pytest.raises(ValueError, match="flower-supernode --node-config"):
        _run(grid, consortium)


def test_an_answer_without_records_is_refused(consortium):
    class Empty(LocalGrid):
        def answer(self, message):
            answer = super().answer(message)
            answer.content = RecordDict({"other": ConfigRecord({"a": 1})})
            return answer

    with pytest.raises(RuntimeError, match=r"expects the records 'arrays' and 'entries', got \['other'\]"):
        _run(Empty([consortium / "site_1.yaml", consortium / "site_2.yaml"]), consortium)
