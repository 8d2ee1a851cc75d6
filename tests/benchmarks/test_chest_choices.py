"""A metric of 0 counts in the mean; one that is undefined does not."""

from types import SimpleNamespace

import chest_choices
from result_tables import summarize


def test_a_metric_of_zero_is_not_undefined(monkeypatch):
    found = iter([{"opacity_dice": 0.0, "finding_auc": None}, {"opacity_dice": 0.5, "finding_auc": 0.7}])
    monkeypatch.setattr(chest_choices, "make_workflow", lambda *given: SimpleNamespace(run=lambda: None))
    monkeypatch.setattr(chest_choices, "evaluate", lambda *given: next(found))
    options = SimpleNamespace(data=".", size=64, epochs=1)
    runs = [chest_choices.run({}, options, seed) for seed in range(2)]
    assert summarize([run["opacity_dice"] for run in runs]) == "0.250 ± 0.354"
    assert summarize([run["finding_auc"] for run in runs]) == "0.700 (1 of 2)"
