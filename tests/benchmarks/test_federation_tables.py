"""Statistics of the study by hand, the choice of learning rates, and unfinished files."""

from __future__ import annotations

import math

import pytest
from federation import Cell, alike
from federation_methods import Method, parse_method
from federation_tables import (
    holm,
    image_pairs,
    other_table,
    print_tables,
    segmentation_table,
    signed_rank,
    site_table,
    t_test,
)
from federation_tuning import choose_rates, read_rates


def _record(method: str, seed: int, dice: float, sites: dict[str, float]) -> dict:
    return {
        **{"method": method, "seed": seed, "dice": dice, "lr": 0.001, "loss": 1.0},
        **{"image_dice": {"lung": [dice, math.nan]}, "site_scores": sites, "lung_score": dice},
    }


def test_holm_by_hand():
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": math.nan})
    assert found == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06, "d": math.nan}, nan_ok=True)
    assert holm({"a": 0.7, "b": 0.6}) == {"b": 1.0, "a": 1.0}


def test_paired_t_test_by_hand():
    gaps = [0.1, 0.2, 0.3]
    # t = .2 / (.1 / sqrt 3) = 3.4641; with 2 degrees of freedom p = 1 - t / sqrt(2 + t^2)
    assert t_test(gaps) == pytest.approx(1 - 12**0.5 / 14**0.5)
    assert math.isnan(t_test(gaps[:1]))


def test_signed_rank_by_hand():
    assert signed_rank([0.1, 0.2, 0.3, 0.4]) == pytest.approx(2 / 2**4)  # all signs equal, two-sided
    assert math.isnan(signed_rank([0.0, 0.0]))


def test_images_without_a_structure_are_left_out():
    one, other = _record("a", 0, 0.75, {}), _record("b", 0, 0.5, {})
    assert image_pairs([(one, other)]) == [0.25]


def test_tables():
    runs = {
        "bayesian": {s: _record("bayesian", s, 0.7 + 0.1 * s, {"x": 0.6, "y": 0.5}) for s in range(2)},
        "local": {s: _record("local", s, 0.6, {"x": 0.7, "y": 0.3}) for s in range(2)},
    }
    lines = "\n".join(segmentation_table(runs, "bayesian")).splitlines()
    assert lines[2].startswith("| bayesian | 0.001 | 0.750 ± 0.071 |  |")
    assert lines[3].startswith("| local | 0.001 | 0.600 ± 0.000 | +0.150 | 0.2 |")  # t = 3, 1 degree of freedom
    titles, _, ours, _ = (line.split(" | ") for line in "\n".join(other_table(runs)).splitlines())
    assert ours[titles.index("worst site")] == "0.500 ± 0.000"
    assert ours[titles.index("worst site minus alone")] == "-0.100 ± 0.000"


def test_differences_of_sites_from_alone():
    gaps = [(0.1, -0.2), (0.2, -0.4), (0.3, -0.6)]
    runs = {
        "local": {s: _record("local", s, 0.6, {"x": 0.5, "y": 0.7}) for s in range(3)},
        "fedavg": {s: _record("fedavg", s, 0.6, {"x": 0.5 + x, "y": 0.7 + y}) for s, (x, y) in enumerate(gaps)},
        "owners": {0: _record("owners", 0, 0.6, {"x": 0.6})},
    }
    runs["masks"] = {s: {**run, "box_score": 0.9} for s, run in runs["fedavg"].items()}  # serves other tasks
    lines = "\n".join(site_table(runs)).splitlines()
    assert len(lines) == 5
    assert lines[0] == "| score, less alone (p) | x | y |"
    assert lines[2] == "| local | 0.500 ± 0.000 | 0.700 ± 0.000 |"
    assert lines[3] == "| fedavg | +0.200 (0.15) | -0.400 (0.15) |"  # both: p = 0.0742, of two sites
    assert lines[4] == "| owners | +0.100 (-) | - |"


def test_learning_rates_with_the_best_mean_are_chosen(tmp_path):
    def trial(method: str, lr: float, seed: int, dice: float) -> dict:
        return {"regime": "r", "method": method, "lr": lr, "seed": seed, "dice": dice}

    trials = [trial("a", 0.1, 0, 0.5), trial("a", 0.1, 1, 0.7), trial("a", 0.2, 0, 0.9), trial("a", 0.2, 1, 0.1)]
    trials += [trial("a", 0.3, 0, 0.99)]  # one seed is missing
    path = tmp_path / "rates.json"
    path.write_text('{"r/b": 0.4}')
    assert choose_rates(trials, path) == read_rates(path) == {"r/a": 0.1, "r/b": 0.4}


def test_methods_are_parsed():
    assert parse_method("fedavg_sgd:lr=0.1") == Method("fedavg", optimizer="sgd", lr=0.1)
    assert parse_method("fedprox:proximal=0.5,equal=true") == Method("fedprox", {"proximal": 0.5}, equal=True)
    with pytest.raises(ValueError, match="sites to be one of"):
        parse_method("fedavg:sites=some")


SETTING = {"regime": "r", "image_size": 64, "fine_maps": True, "rounds": 3, "local_epochs": 6, "batch_size": 8}


@pytest.mark.parametrize(
    "change", [{"batch_size": 16}, {"weights": "a.pt"}, {"lr": 0.002}], ids=["batch size", "weights", "learning rate"]
)
def test_runs_of_other_settings_are_not_mixed_into_a_row(capsys, change):
    first = [SETTING | _record("fedavg", seed, 0.6, {"x": 0.6}) for seed in range(2)]
    other = [each | {"dice": 0.8} | change for each in first]
    given = [each | {"dice": 0.7, "weights": "b.pt"} for each in other] if "weights" in change else []
    print_tables([*first, *other, *given], "fedavg")
    found = capsys.readouterr().out
    assert all(f"{dice:.3f} ± 0.000" in found for dice in [0.6, 0.8] + [0.7] * bool(given))


def test_learning_rates_are_chosen_among_trials_of_the_same_settings():
    cell = Cell(**SETTING, seed=100, method="a", lr=0.1, on="validation")
    same = SETTING | {"seed": 101, "method": "b", "lr": 0.3, "on": "validation"}
    others = [same | {"fine_maps": False}, same | {"rounds": 9, "local_epochs": 2}, same | {"batch_size": 4}]
    assert alike([same, *others], [cell]) == [same]
