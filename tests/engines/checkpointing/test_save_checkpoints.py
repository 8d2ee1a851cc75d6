import json

import pytest
import torch
from ignite.engine import Events

from mtmedformer_monai.engines import SaveCheckpoints, TrainingState
from mtmedformer_monai.engines.checkpointing.model_card import describe_model, write_card
from mtmedformer_monai.engines.checkpointing.training_state import bare
from mtmedformer_monai.io.atomic_files import load_checkpoint
from mtmedformer_monai.io.file_sha256 import file_sha256
from tests.engines.tiny_training import TinyNetwork, build_training, make_tasks

SCORES = [0.3, 0.7, 0.7, 0.5]


def train_with_scores(tmp_path, scores=SCORES):
    """Builds a training whose validations return these scores."""
    training = build_training(len(scores))

    @training.evaluator.on(Events.EPOCH_COMPLETED)
    def set_score(evaluator):
        evaluator.state.metrics["mean_score"] = scores[evaluator.state.epoch - 1]

    weights = {}
    saver = SaveCheckpoints(training.state, str(tmp_path / "last.pt"), str(tmp_path / "models" / "model.pt"))
    saver.attach(training.trainer)

    @training.trainer.on(Events.EPOCH_COMPLETED)
    def remember(trainer):
        weights[trainer.state.epoch] = {k: v.clone() for k, v in training.network.state_dict().items()}

    training.run()
    return training, weights


def test_best_weights_are_flat_and_of_the_best_epoch(tmp_path):
    _, weights = train_with_scores(tmp_path)
    best = load_checkpoint(tmp_path / "models" / "model.pt")
    assert list(best) == list(weights[2])
    assert all(torch.equal(best[name], weights[2][name]) for name in best)
    TinyNetwork().load_state_dict(best)


def test_the_last_checkpoint_is_complete(tmp_path):
    training, weights = train_with_scores(tmp_path)
    last = load_checkpoint(tmp_path / "last.pt")
    assert (last["epoch"], last["iteration"], last["best_epoch"], last["best_score"]) == (4, 8, 2, 0.7)
    assert set(last["parts"]) == {"network", "optimizer", "loss", "schedule"}
    assert torch.equal(last["parts"]["network"]["stem.weight"], weights[4]["stem.weight"])
    # Written after the schedule's step of the epoch's last iteration, though the handler was attached before it.
    assert last["parts"]["schedule"]["last_epoch"] == training.trainer.state.iteration


def test_every_epoch_is_kept_when_it_ends(tmp_path):
    training, seen = build_training(2), []
    SaveCheckpoints(training.state, str(tmp_path / "last.pt"), str(tmp_path / "model.pt")).attach(training.trainer)

    @training.trainer.on(Events.EPOCH_STARTED)
    def look(trainer):
        path = tmp_path / "last.pt"
        seen.append(load_checkpoint(path)["epoch"] if path.exists() else 0)

    training.run()
    assert seen == [0, 1]


def test_without_evaluator_the_latest_weights_are_kept(tmp_path):
    training = build_training(2)
    SaveCheckpoints(TrainingState(), str(tmp_path / "last.pt"), str(tmp_path / "model.pt")).attach(training.trainer)
    training.run()
    kept = load_checkpoint(tmp_path / "model.pt")
    assert all(torch.equal(kept[name], value) for name, value in training.network.state_dict().items())


NAN = float("nan")


@pytest.mark.parametrize(
    ("scores", "best"),
    [([NAN, NAN, NAN], 3), ([NAN, 0.4, 0.3], 2), ([0.4, NAN, 0.3], 1), ([NAN, NAN, 0.1, NAN], 3)],
    ids=["never", "late", "early", "once"],
)
def test_the_latest_epoch_is_the_best_while_none_has_a_score(tmp_path, scores, best):
    training, weights = train_with_scores(tmp_path, scores)
    assert training.state.best_epoch == best
    kept = load_checkpoint(tmp_path / "models" / "model.pt")
    assert all(torch.equal(kept[name], weights[best][name]) for name in kept)


def test_validation_without_images_keeps_the_latest_weights(tmp_path):
    training = build_training(2)
    training.evaluator.data_loader, training.evaluator.state.dataloader = [], []
    training.evaluator.run = lambda *args: None  # as MONAI skips it
    SaveCheckpoints(training.state, str(tmp_path / "last.pt"), str(tmp_path / "model.pt")).attach(training.trainer)
    training.run()
    kept = load_checkpoint(tmp_path / "model.pt")
    assert all(torch.equal(kept[name], value) for name, value in training.network.state_dict().items())


def test_previous_weights_are_kept(tmp_path):
    (tmp_path / "models").mkdir()
    torch.save({"old": torch.ones(1)}, tmp_path / "models" / "model.pt")
    _, weights = train_with_scores(tmp_path, [0.3, 0.7])
    assert load_checkpoint(tmp_path / "models" / "model_previous.pt") == {"old": torch.ones(1)}
    new = load_checkpoint(tmp_path / "models" / "model.pt")
    assert all(torch.equal(new[name], weights[2][name]) for name in new)


def test_previous_weights_keep_what_belongs_to_them(tmp_path):
    """An older copy's files, here a calibration, do not stay beside the new copy."""
    path, old = tmp_path / "models/model.pt", describe_model(make_tasks(), [64, 64])
    path.parent.mkdir()
    torch.save({"old": torch.ones(1)}, path)
    write_card(path, old)
    path.with_name("posterior.pt").write_bytes(b"posterior")
    path.with_name("calibration_previous.json").write_text("older")
    train_with_scores(tmp_path, [0.3])
    assert sorted(file.name for file in path.parent.glob("*_previous.*")) == [
        "model_previous.json",
        "model_previous.pt",
        "posterior_previous.pt",
    ]
    card = json.loads(path.with_name("model_previous.json").read_text())
    kept = path.with_name("model_previous.pt")
    assert card == {"weights": {"file": kept.name, "sha256": file_sha256(kept)}, **old}


def test_a_stale_card_of_previous_weights_is_removed(tmp_path):
    (tmp_path / "models").mkdir()
    torch.save({"old": torch.ones(1)}, tmp_path / "models/model.pt")
    (tmp_path / "models/model_previous.json").write_text("{}")
    train_with_scores(tmp_path, [0.3])
    assert not (tmp_path / "models/model_previous.json").exists()


def test_without_any_validation_the_last_weights_are_kept_with_a_warning(tmp_path, caplog):
    training, path = build_training(2), tmp_path / "model.pt"
    training.evaluator.run = lambda *args: None  # as with val_interval > max_epochs
    SaveCheckpoints(training.state, None, str(path)).attach(training.trainer)
    training.run()
    kept = load_checkpoint(path)
    assert all(torch.equal(kept[name], value) for name, value in training.network.state_dict().items())
    assert training.state.best_epoch == 2
    assert "No epoch was validated" in caplog.text


def test_two_handlers_write_one_file_each(tmp_path):
    training = build_training(2)
    SaveCheckpoints(training.state, None, str(tmp_path / "models/model.pt")).attach(training.trainer)
    training.run()
    assert [path.name for path in tmp_path.rglob("*.pt")] == ["model.pt"]
    again, folder = build_training(2), tmp_path / "again"
    SaveCheckpoints(again.state, None, str(folder / "model.pt")).attach(again.trainer)
    SaveCheckpoints(again.state, str(folder / "last.pt"), None).attach(again.trainer)
    again.run()
    last, best = load_checkpoint(folder / "last.pt"), load_checkpoint(folder / "model.pt")
    assert last["epoch"] == 2
    assert last["best_epoch"] in (1, 2)
    assert all(torch.equal(best[name], load_checkpoint(tmp_path / "models/model.pt")[name]) for name in best)
    with pytest.raises(ValueError, match="expects resume_path, weights_path or both, got neither"):
        SaveCheckpoints(again.state, None, None)


def test_temporary_files_of_an_interrupted_run_are_removed(tmp_path):
    (tmp_path / "last.pt.x1.partial").write_bytes(b"half")
    train_with_scores(tmp_path, [0.1])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.pt", "models"]


@pytest.mark.parametrize("name", ["label.bias", "running_mean"], ids=["parameter", "buffer"])
def test_a_diverged_network_does_not_replace_the_last_checkpoint(tmp_path, name):
    training = build_training(2)
    training.network.register_buffer("running_mean", torch.zeros(2))
    training.evaluator.run = lambda *args: None  # as in epochs without a validation

    @training.trainer.on(Events.EPOCH_COMPLETED(once=2))
    def diverge(trainer):
        trainer.network.state_dict()[name].fill_(NAN)

    SaveCheckpoints(training.state, str(tmp_path / "last.pt"), None).attach(training.trainer)
    with pytest.raises(ValueError, match=f"'{name}' of the network is not finite: the training has diverged; lower"):
        training.run()
    last = load_checkpoint(tmp_path / "last.pt")
    assert last["epoch"] == 1
    assert bool(last["parts"]["network"][name].isfinite().all())


def test_an_evaluator_without_key_metric_is_refused(tmp_path):
    training = build_training(1)
    training.evaluator.state.key_metric_name = None
    SaveCheckpoints(training.state, str(tmp_path / "a.pt"), str(tmp_path / "b.pt")).attach(training.trainer)
    with pytest.raises(ValueError, match="declares no key metric; give it key_val_metric"):
        training.run()


def test_state_dicts_of_wrapped_networks_have_no_prefix():
    network = TinyNetwork()
    wrapped = torch.nn.DataParallel(torch.compile(network))
    assert bare(wrapped) is network
