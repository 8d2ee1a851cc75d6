"""Rounds with teachers at small clients; `test_chest_teachers.py` has the chest bundle."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from monai.data import DataLoader
from monai.engines import SupervisedTrainer
from monai.transforms import Compose
from PIL import Image
from torch import nn

from mtmedformer_monai.data import RadiographDataset
from mtmedformer_monai.data.study_dataset import StudyDataset
from mtmedformer_monai.engines.prepare_batch import PrepareMultiTaskBatch
from mtmedformer_monai.federated.client.local_training import LocalTrainingHandler
from mtmedformer_monai.federated.client.missing_labels import MissingLabels
from mtmedformer_monai.federated.client.ownership import own
from mtmedformer_monai.federated.strategies.fedavg import AveragingClient
from mtmedformer_monai.federated.teaching import EVERY_TASK, Completion, Distillation, Gate, Teacher
from mtmedformer_monai.losses.hybrid import HybridLoss
from mtmedformer_monai.tasks import ClassificationTask, SegmentationTask
from mtmedformer_monai.transforms import Letterboxd, LoadRadiographd, LoadTargetsd, RandGeometryd
from tests.federated.tiny_client import make_trainer

BOTH, LEFT = {"left": "yes", "right": "no"}, {"left": "yes"}


class Brightness(nn.Module):
    """Marks bright pixels, and calls an image bright by its mean: both with a gain and a level."""

    def __init__(self):
        super().__init__()
        self.decoders = nn.ModuleDict({"bright": nn.Conv2d(1, 1, 1), "is_bright": nn.Linear(1, 1)})

    def forward(self, image):
        image = image.as_tensor() if hasattr(image, "as_tensor") else image
        return {"bright": self.decoders["bright"](image), "is_bright": self.decoders["is_bright"](image.mean((2, 3)))}


def teacher(gain=100.0, level=0.5):
    weight, bias = torch.tensor([gain]), torch.tensor([-gain * level])
    return Teacher(
        {
            "decoders.bright.weight": weight.reshape(1, 1, 1, 1),
            "decoders.bright.bias": bias,
            "decoders.is_bright.weight": weight.reshape(1, 1),
            "decoders.is_bright.bias": bias,
        }
    )


TASKS = [SegmentationTask("bright", ["bright"]), ClassificationTask("is_bright", ["no", "yes"], "binary", dropout=0.0)]


@pytest.fixture
def bright(tmp_path):
    """Builds a trainer of images with a bright square, of which the first has an own mask and all are unclassified."""

    def make(motion=0.0, **loader):
        items = []
        for index in range(3):
            pixels = np.zeros((32, 32), dtype=np.uint8)
            pixels[8:24, 6 + index : 22 + index] = 255
            Image.fromarray(pixels).save(tmp_path / f"{index}.png")
            items.append({"image": str(tmp_path / f"{index}.png")})
        own_mask = np.zeros((32, 32), dtype=np.uint8)
        own_mask[0, 0] = 255
        Image.fromarray(own_mask).save(tmp_path / "mask.png")
        items[0]["masks"] = {"bright": str(tmp_path / "mask.png")}
        keys = ["image", "bright"]
        transforms = [LoadRadiographd("image"), LoadTargetsd(TASKS), Letterboxd(keys, (32, 32))]
        dataset = RadiographDataset(items, Compose([*transforms, RandGeometryd(keys, prob=motion)]))
        torch.manual_seed(0)
        network = Brightness()
        return SupervisedTrainer(
            device=torch.device("cpu"),
            max_epochs=1,
            train_data_loader=DataLoader(dataset, batch_size=2, **loader),
            network=network,
            optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
            loss_function=HybridLoss(TASKS, normalize=False),
            prepare_batch=PrepareMultiTaskBatch(TASKS),
            decollate=False,
        )

    return make


def targets_of(trainer):
    batches = [trainer.prepare_batch(each, torch.device("cpu"), False) for each in trainer.data_loader]
    return {name: torch.cat([targets[name] for _, targets in batches]) for name in batches[0][1]}


def test_missing_labels_are_those_of_the_teacher_and_own_ones_stay(bright):
    trainer = bright()
    ownership = own(trainer)
    missing = MissingLabels(trainer, ownership)
    taught = missing.begin(Completion({EVERY_TASK: teacher()}))
    targets = targets_of(trainer)
    assert targets["bright"].flatten(1).sum(dim=1).tolist() == [1, 256, 256]
    assert targets["bright.completed"].tolist() == [[False], [True], [True]]
    assert targets["is_bright"].tolist() == [0, 0, 0]  # a quarter of each image is bright, less than half
    assert missing.completed == {"bright": 2, "is_bright": 3}
    assert ownership.images_by_task == {"bright": 1, "is_bright": 0}
    assert taught.images_by_task == {"bright": 3, "is_bright": 3}
    assert taught.num_samples["decoders.is_bright.weight"] == 3


def test_the_next_round_starts_from_own_labels(bright):
    trainer = bright()
    missing = MissingLabels(trainer, own(trainer))
    before = targets_of(trainer)
    missing.begin(Completion({EVERY_TASK: teacher()}, weight=0.5))
    assert missing.begin(None) is missing._own
    torch.testing.assert_close(targets_of(trainer), before, equal_nan=True)
    assert missing.completed == {}


def test_only_tasks_that_somebody_has_labels_for_are_taught(bright):
    trainer = bright()
    missing = MissingLabels(trainer, own(trainer))
    missing.begin(Completion({EVERY_TASK: teacher()}), known_tasks=["bright"])
    assert missing.completed == {"bright": 2}
    assert bool(targets_of(trainer)["is_bright"].isnan().all())


def test_a_task_without_an_initial_loss_is_not_taught():
    """A normalizing loss would leave what is taught unscaled, or divide it by its own small loss of the teacher."""
    trainer = make_trainer([LEFT, {}])
    trainer.loss_function = HybridLoss(trainer.loss_function.tasks, initial={"left": 0.7})
    missing = MissingLabels(trainer, own(trainer))
    mean = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    missing.begin(Distillation({EVERY_TASK: Teacher(mean)}))
    assert missing.completed == {"left": 1}


def test_checks_that_differ_leave_labels_missing(bright):
    """The level before is above the brightest pixel, so the network before marked nothing."""
    trainer = bright()
    missing = MissingLabels(trainer, own(trainer))
    unlike = Teacher(teacher().mean, previous=teacher(level=2.0).mean)
    assert missing.begin(Completion({"bright": unlike})) is missing._own
    assert missing.completed == {"bright": 0}
    alike = Teacher(teacher().mean, previous=teacher(level=0.6).mean)
    missing.begin(Completion({"bright": alike}))
    assert missing.completed == {"bright": 2}


def test_a_posterior_passes_the_gate_if_its_draws_agree(bright):
    trainer = bright()
    missing = MissingLabels(trainer, own(trainer))
    mean, found = teacher().mean, {}
    for precision in (1e6, 1e-6):
        posterior = Teacher(mean, {name: torch.full_like(value, precision) for name, value in mean.items()})
        for seed in range(8):
            missing.begin(Completion({"bright": posterior}, Gate(agreement=0.95), seed=seed))
            found.setdefault(precision, []).append(missing.completed["bright"])
    assert found[1e6] == [2] * 8
    assert found[1e-6].count(0) >= 4  # two arbitrary networks agree now and then


def test_completed_masks_train_the_decoder_under_random_motion(bright):
    trainer = bright(motion=1.0)
    handler = LocalTrainingHandler(AveragingClient(), own(trainer))
    handler.attach(trainer)
    before = copy.deepcopy(trainer.network.state_dict())
    handler.use(MissingLabels(trainer, own(trainer)).begin(Completion({"is_bright": teacher()})))
    trainer.run()
    training = handler.finish()
    assert training.num_samples["decoders.is_bright.weight"] == 3
    assert not torch.equal(training.weights["decoders.is_bright.bias"], before["decoders.is_bright.bias"])
    assert training.loss > 0.0


def test_persistent_workers_and_other_data_are_rejected_with_the_remedy(bright):
    trainer = bright(num_workers=1, persistent_workers=True)
    with pytest.raises(ValueError, match="persistent_workers=False"):
        MissingLabels(trainer, own(trainer)).begin(Completion({EVERY_TASK: teacher()}))
    tiny = make_trainer([LEFT] * 4)
    with pytest.raises(TypeError, match="expects a RadiographDataset, got Items; choose the strategy `condistfl`"):
        MissingLabels(tiny, own(tiny)).begin(Completion({EVERY_TASK: Teacher({})}))


@pytest.mark.parametrize("kind", [Completion, Distillation])
def test_views_of_a_study_are_not_taught_but_an_optional_teaching_leaves_the_own_labels(bright, kind, caplog):
    trainer = bright()
    ownership = own(trainer)
    for item, view in zip(trainer.data_loader.dataset.data, ("CC", "MLO", "CC"), strict=True):
        item.update(study_id="1", laterality="L" if view == "CC" else "R", view=view)
    studies = StudyDataset(trainer.data_loader.dataset, ["bright", "is_bright"])
    trainer.data_loader = DataLoader(studies, batch_size=1)
    with pytest.raises(TypeError, match="expects a dataset of single images, got a StudyDataset"):
        MissingLabels(trainer, ownership).begin(kind({EVERY_TASK: teacher()}))
    before = trainer.prepare_batch
    assert MissingLabels(trainer, ownership).begin(kind({EVERY_TASK: teacher()}, optional=True)) is ownership
    assert trainer.prepare_batch is before
    assert "the site's own ones train it" in caplog.text


def run(labels, teaching_of=None):
    """Trains a tiny client, and returns its result."""
    trainer = make_trainer(labels)
    ownership = own(trainer)
    handler = LocalTrainingHandler(AveragingClient(), ownership)
    handler.attach(trainer)
    if teaching_of is not None:
        handler.use(MissingLabels(trainer, ownership).begin(teaching_of(trainer.network)))
    trainer.run()
    return handler.finish()


def distillation(network):
    torch.manual_seed(1)
    mean = {name: torch.randn(each.shape) for name, each in network.named_parameters()}
    return Distillation({EVERY_TASK: Teacher(mean)}, 0.5, 2.0)


@pytest.mark.parametrize("teaching", [distillation, lambda network: Completion(distillation(network).teachers)])
def test_a_client_that_lacks_nothing_trains_bit_for_bit_as_without(teaching):
    plain, taught = run([BOTH] * 8), run([BOTH] * 8, teaching)
    assert plain.num_samples == taught.num_samples
    for name, value in plain.weights.items():
        assert torch.equal(value, taught.weights[name]), name


def test_distillation_moves_the_decoder_of_a_task_without_labels():
    plain, taught = run([LEFT] * 8), run([LEFT] * 8, distillation)
    name = "decoders.right.1.weight"
    assert name not in plain.num_samples
    assert taught.num_samples[name] == 8
    assert not torch.equal(plain.weights[name], taught.weights[name])


def test_black_images_are_not_distilled(bright):
    """An unreadable image is replaced by a black one, which contributes nothing."""
    trainer = bright()
    MissingLabels(trainer, own(trainer)).begin(Distillation({EVERY_TASK: teacher()}))
    batch = next(iter(trainer.data_loader))
    batch["image"][1] = 0.0
    _, targets = trainer.prepare_batch(batch, torch.device("cpu"), False)
    assert targets["bright.teacher"].isnan().flatten(1).any(dim=1).tolist() == [False, True]
    assert targets["bright.teacher"][0, 0, 10, 10].item() == pytest.approx(50.0)  # 100 (1 - 0.5)


def test_a_stock_loss_lacks_nothing():
    trainer = make_trainer([LEFT] * 4)
    trainer.loss_function = nn.MSELoss()
    ownership = own(trainer)
    assert MissingLabels(trainer, ownership).begin(Completion({EVERY_TASK: Teacher({})})) is ownership
