import math
from types import SimpleNamespace

import pytest
import torch
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.handlers import CheckpointSaver

from mtmedformer_monai.engines import MultiTaskMetric, PrepareMultiTaskBatch
from tests.engines.tiny_training import TinyNetwork, make_items, make_tasks


class Oracle(torch.nn.Module):
    """A perfect network: it derives masks from brightness, and classes from the second square."""

    def forward(self, image):
        bright = (image > 0.45).float()
        second = bright[:, :, 11:15, 10:15].mean(dim=(1, 2, 3)) > 0.9
        mask = bright.clone()
        mask[:, :, 9:] = 0
        return {"lung": mask * 20 - 10, "finding": (second.float() * 20 - 10)[:, None]}


def evaluate(network=None, items=None, **arguments) -> SupervisedEvaluator:
    tasks = make_tasks()
    metric = MultiTaskMetric(tasks, arguments.pop("key_metrics", None), arguments.pop("required", True))
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(make_items() if items is None else items), batch_size=3),
        network=network or Oracle(),
        prepare_batch=PrepareMultiTaskBatch(tasks, require_targets=False),
        key_val_metric={"mean_score": metric},
        **arguments,
    )
    evaluator.run()
    return evaluator


def test_all_metrics_and_their_mean():
    metrics = evaluate().state.metrics
    assert metrics["lung_dice"] == metrics["finding_auc"] == metrics["mean_score"] == 1.0
    assert metrics["finding_accuracy"] == 1.0


def test_decollation_and_postprocessing_change_nothing():
    torch.manual_seed(0)
    network = TinyNetwork()
    network.mask.bias.data += 0.3  # predicts some pixels, so that changes have an effect

    def spoil(item):
        return {**item, "pred": {name: torch.zeros_like(p) for name, p in item["pred"].items()}}

    expected = evaluate(network, decollate=False).state.metrics
    assert 0 < expected["lung_dice"] < 1
    assert evaluate(network, decollate=True, postprocessing=spoil).state.metrics == pytest.approx(expected)


def test_a_task_without_labels_is_excluded():
    items = [{**item, "finding": torch.tensor(torch.nan)} for item in make_items()]
    metrics = evaluate(items=items).state.metrics
    assert math.isnan(metrics["finding_auc"])
    assert metrics["mean_score"] == metrics["lung_dice"] == 1.0
    without_key = [{k: v for k, v in item.items() if k != "finding"} for item in items]
    assert evaluate(items=without_key).state.metrics["mean_score"] == 1.0


def test_key_metrics_are_chosen_by_task():
    torch.manual_seed(0)
    metrics = evaluate(TinyNetwork(), key_metrics={"finding": "accuracy"}).state.metrics
    lung, finding = metrics["lung_cases"], metrics["finding_cases"]
    lung, finding = lung / (lung + 20), finding / (finding + 20)
    expected = (lung * metrics["lung_dice"] + finding * metrics["finding_accuracy"]) / (lung + finding)
    assert metrics["mean_score"] == pytest.approx(expected)


class Fixed:
    """A task with given metrics and cases."""

    primary_metric = "dice"

    def __init__(self, name, values, self_supervised=False):
        self.name, self._values, self.self_supervised = name, values, self_supervised

    def make_metric(self):
        return SimpleNamespace(compute=lambda: self._values)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ({"dice": 0.1, "cases": 5.0}, (0.8 * 0.9 + 0.2 * 0.1) / (0.8 + 0.2)),  # 5 / (5 + 20)
        ({"dice": 0.1}, (0.8 * 0.9 + 1.0 * 0.1) / (0.8 + 1.0)),
        ({"dice": math.nan, "cases": 0.0}, 0.9),
    ],
    ids=["few cases", "unknown cases", "no case"],
)
def test_the_mean_weights_metrics_by_their_cases(box, expected):
    metric = MultiTaskMetric([Fixed("lung", {"dice": 0.9, "cases": 80.0}), Fixed("box", box)])  # 80 / (80 + 20)
    engine = SimpleNamespace(state=SimpleNamespace(metrics={}))
    metric.compute(engine, "mean_score")
    assert engine.state.metrics["mean_score"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("lung", "key_metrics", "expected"),
    [(0.9, None, 0.9), (0.9, {"pixels": "dice"}, (0.9 + 25.0) / 2), (math.nan, None, 25.0)],
    ids=["left out", "asked for", "alone"],
)
def test_a_self_supervised_task_does_not_outweigh_the_others(lung, key_metrics, expected):
    tasks = [Fixed("lung", {"dice": lung}), Fixed("pixels", {"dice": 25.0}, self_supervised=True)]
    engine = SimpleNamespace(state=SimpleNamespace(metrics={}))
    MultiTaskMetric(tasks, key_metrics).compute(engine, "mean_score")
    assert engine.state.metrics["mean_score"] == pytest.approx(expected)


def test_drives_monai_stock_checkpoint(tmp_path):
    network = TinyNetwork()
    saver = CheckpointSaver(
        str(tmp_path), {"network": network}, save_key_metric=True, key_metric_filename="model.pt", name="stock"
    )
    evaluator = evaluate(network, val_handlers=[saver])
    assert evaluator.state.best_metric == evaluator.state.metrics["mean_score"]
    assert torch.load(tmp_path / "model.pt").keys() == network.state_dict().keys()


def test_nothing_annotated_is_an_error():
    items = [{"image": item["image"]} for item in make_items()]
    with pytest.raises(ValueError, match=r"none of the tasks .*check the datalist's validation list"):
        evaluate(items=items)
    assert math.isnan(evaluate(items=items, required=False).state.metrics["mean_score"])


def test_divergence_is_an_error():
    metric, task = MultiTaskMetric(make_tasks()), "lung"
    output = {"pred": {task: torch.full((1, 1, 4, 4), torch.nan)}, "label": {task: torch.zeros(1, 1, 4, 4)}}
    with pytest.raises(ValueError, match="task 'lung' returned non-finite values"):
        metric.update(SimpleNamespace(state=SimpleNamespace(output=output)))


@pytest.mark.parametrize(
    ("key_metrics", "message"),
    [({"heart": "dice"}, r"got \['heart'\]"), ({"lung": "sharpness"}, "no metric 'sharpness'")],
    ids=["task", "metric"],
)
def test_unknown_key_metrics_are_refused(key_metrics, message):
    with pytest.raises(ValueError, match=message):
        evaluate(key_metrics=key_metrics)
