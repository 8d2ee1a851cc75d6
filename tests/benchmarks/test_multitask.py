from pathlib import Path
from types import SimpleNamespace

import multitask
import pytest
from multitask_tables import difference_table, of_last_weights, rows_of

CHEST_TASKS = ["lung", "opacity", "opacity_box", "finding", "pneumonia_type"]


def options(**changes):
    given = {
        "cohort": "chest",
        "size": (64, 64),
        "epochs": 30,
        "lr": 0.001,
        "folds": 2,
        "run_folds": None,
        "networks": ["ours", "resnet10", "segresnet"],
        "variants": {},
        "generated": None,
        "only": None,
        "tasks": [],
        "no_single": False,
        "taught": False,
    }
    return SimpleNamespace(**given | changes)


def trainings(**changes):
    return [(run.fold, run.network, run.task, run.variant) for run in multitask._runs(options(**changes))]


def test_each_network_is_trained_on_what_it_can_do():
    of_a_fold = [
        ("ours", ""),
        *(("ours", task) for task in CHEST_TASKS),
        ("resnet10", ""),
        ("segresnet", "lung"),
        ("segresnet", "opacity"),
    ]
    assert trainings() == [(fold, *each, "") for fold in (0, 1) for each in of_a_fold]


def test_variants_are_those_of_our_joint_network():
    found = trainings(variants={"coarse": {}}, run_folds=[1])
    assert [each for each in found if each[3]] == [(1, "ours", "", "coarse")]


def test_a_generated_cohort_gives_every_network_a_second_start():
    scratch, both = trainings(), trainings(generated="folder")
    assert [each for each in both if not each[3]] == scratch
    assert [(*each[:3], "") for each in both if each[3] == multitask.GENERATED] == scratch
    jointly = [each for each in both if each[3] == multitask.GENERATED_JOINTLY]
    assert [each[:3] for each in jointly] == [(fold, "ours", task) for fold in (0, 1) for task in CHEST_TASKS]
    assert len(both) == 2 * len(scratch) + len(jointly)


def test_only_the_wanted_variants_are_trained():
    found = trainings(generated="folder", variants={"coarse": {}}, only=["coarse"])
    assert found == [(0, "ours", "", "coarse"), (1, "ours", "", "coarse")]


def test_all_folds_start_from_one_training_on_the_generated_cohort(tmp_path):
    runs = [run for run in multitask._runs(options(generated="folder")) if run.variant == multitask.GENERATED]
    first = {multitask.First(epochs=18, lr=0.002).run(run) for run in runs}
    assert len(first) == len(runs) / 2
    for run in first:
        overrides = multitask.overrides_of(run, tmp_path, {})
        assert overrides["learning_rate"] == 0.002
        assert overrides["datalist"].endswith("data/chest_generated.json")
        assert overrides["max_epochs"] == 18


@pytest.mark.parametrize("tasks", [[], ["lung", "finding"]], ids=["all tasks", "some tasks"])
def test_a_network_for_one_task_can_start_from_what_all_wanted_tasks_have_taught(tmp_path, tasks):
    runs = list(multitask._runs(options(generated="folder", tasks=tasks)))
    first = multitask.First(epochs=18, lr=0.002, joint=" ".join(tasks))
    (joint,) = {
        first.run(run)
        for run in runs
        if run.variant == multitask.GENERATED and run.task == first.joint and run.network == "ours"
    }
    jointly = [run for run in runs if run.variant == multitask.GENERATED_JOINTLY]
    assert {first.run(run) for run in jointly} == {joint}
    assert [task["name"] for task in multitask.overrides_of(joint, tmp_path, {})["tasks"]] == (tasks or CHEST_TASKS)


def test_networks_for_all_tasks_are_taught_by_those_for_one(tmp_path, monkeypatch):
    found = trainings(generated="folder", taught=True, run_folds=[1], networks=["ours", "resnet10"])
    assert [each[1:3] for each in found if each[3] == multitask.TAUGHT] == [("ours", ""), ("resnet10", "")]
    run = multitask.Run("chest", 64, 64, 30, 0.001, 1, "resnet10", variant=multitask.TAUGHT)
    workflows = []

    def make_workflow(bundle, configs, overrides):
        workflows.append((configs, overrides))
        return SimpleNamespace(run=lambda: None)

    monkeypatch.setattr(multitask, "make_workflow", make_workflow)
    target = multitask._teach(run, tmp_path, multitask.overrides_of(run, tmp_path, {}))
    fold = str(multitask._datalist(tmp_path, "chest", 1).resolve())
    assert [(given["datalist"], given["completed_dir"]) for _, given in workflows] == [
        (fold, str(target)),
        (str(target), str(target)),
    ]
    assert [[task["name"] for task in given["tasks"]] for _, given in workflows] == [["lung"], ["opacity"]]
    for (configs, given), task in zip(workflows, ("lung", "opacity"), strict=True):
        teacher = multitask.Run("chest", 64, 64, 30, 0.001, 1, "ours", task, multitask.GENERATED_JOINTLY)
        assert configs == ["inference", "complete"]
        assert given["ckpt_path"] == multitask.overrides_of(teacher, tmp_path, {})["ckpt_dir"] + "/model.pt"


def record(network, fold, dice, variant="", task=""):
    return {"network": network, "task": task, "variant": variant, "fold": fold, "lung_dice": dice, "cpu_seconds": 1.0}


def test_differences_are_those_from_the_reference():
    records = [
        *(record("ours", fold, 0.8) for fold in range(3)),
        *(record("resnet10", fold, 0.7 + 0.01 * fold, multitask.GENERATED) for fold in range(3)),
    ]
    rows = rows_of(records)
    assert difference_table(rows, ["lung_dice"])[-1].startswith("| resnet10, generated first | +0.090 (")
    other = difference_table(rows, ["lung_dice"], "resnet10, generated first")
    assert other[0].startswith("| resnet10, generated first minus |")
    assert other[-1].startswith("| ours | -0.090 (")


def test_tables_of_the_last_weights_leave_out_trainings_that_did_not_test_them():
    with_last = record("ours", 0, 0.8) | {"last_lung_dice": 0.9}
    one_task = record("ours", 0, 0.7, task="lung") | {"last_lung_dice": 0.6, "last_opacity_dice": 0.1}
    rows = rows_of(of_last_weights([with_last, one_task, record("ours", 1, 0.7), record("resnet10", 0, 0.7)]))
    assert {row: {fold: run["lung_dice"] for fold, run in folds.items()} for row, folds in rows.items()} == {
        "ours": {0: 0.9},
        "ours, one task": {0: 0.6},
    }
    assert "opacity_dice" not in rows["ours, one task"][0]


@pytest.mark.parametrize("text", ["name:key", "name:key=[1"])
def test_a_variant_without_json_is_refused(text):
    with pytest.raises(ValueError, match="expects NAME:ID=JSON"):
        multitask._parse_variant(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"most": 240},
        {"folds": 3},
        {"variants": {"coarse": {"network_def#detail": True}, "pretrained": {}}},
        {"pretraining_epochs": 30},
        {"generated": Path("other")},
        {"generated_epochs": 45},
        {"generated_lr": 0.01},
        {"tasks": ["lung", "finding"]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_resumed_study_refuses_settings_that_its_runs_do_not_state(tmp_path, monkeypatch, changes):
    variants = {"coarse": {"network_def#detail": False}, "pretrained": {}}
    given = {"most": 120, "variants": variants, "pretraining_epochs": 15, "generated": Path("varied")}
    given |= {"generated_epochs": 18, "generated_lr": 0.001, "report": False, "output": tmp_path, "workers": 1}
    given |= {"reference": "ours", "last": False, "weights": "best"}
    monkeypatch.setattr(multitask, "_write_folds", lambda options: None)
    monkeypatch.setattr(multitask, "run_missing", lambda *given: None)
    for wanted in (given, given | {"run_folds": [1], "only": ["coarse"], "epochs": 12}):
        monkeypatch.setattr(multitask, "_parse", lambda wanted=wanted: options(**wanted))
        multitask.main()
    monkeypatch.setattr(multitask, "_parse", lambda: options(**given | changes))
    with pytest.raises(ValueError, match="use another --output"):
        multitask.main()


def test_an_interrupted_training_starts_anew_so_that_its_time_is_whole(tmp_path, monkeypatch):
    run = multitask.Run("chest", 64, 64, 3, 0.001, 0, "ours")
    folder = Path(multitask.overrides_of(run, tmp_path, {})["output_dir"])
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").touch()
    parser = SimpleNamespace(get_parsed_content=lambda name: SimpleNamespace(parameters=list))
    seen = []
    workflow = SimpleNamespace(run=lambda: seen.append((folder / "checkpoint.pt").exists()), parser=parser)
    monkeypatch.setattr(multitask, "make_workflow", lambda *given: workflow)
    monkeypatch.setattr(multitask, "evaluate", lambda *given: {})
    multitask.train(run, tmp_path, {})
    assert seen == [False]
