import pytest
import torch

from mtmedformer_monai.federated.strategies.controls import ControlServer, OwnControls


def server() -> ControlServer:
    return ControlServer({"w": torch.zeros(1)}, finish=lambda mean, control: mean - control, sends_controls=True)


def test_the_mean_control_is_by_images_and_of_sites_that_are_silent_too():
    rule, one, other = server(), OwnControls(), OwnControls()
    rule.add(one.replace({"w": torch.tensor([1.0])}, {"w": 10}))
    rule.add(other.replace({"w": torch.tensor([5.0])}, {"w": 30}))
    rule.close_round()
    assert rule.broadcast()["control/w"].item() == 4.0
    rule.add(one.replace({"w": torch.tensor([9.0])}, {"w": 10}))  # the other is silent
    rule.close_round()
    assert rule.broadcast()["control/w"].item() == 6.0
    rule.add(one.replace({"w": torch.tensor([9.0])}, {"w": 30}))  # more images
    rule.close_round()
    assert rule.broadcast()["control/w"].item() == 7.0


def test_what_is_withdrawn_leaves_the_mean_of_the_others():
    rule, one, other = server(), OwnControls(), OwnControls()
    for each, control, count in ((one, 1.0, 10), (one, 2.0, 20), (other, 5.0, 30)):
        rule.add(each.replace({"w": torch.tensor([control])}, {"w": count}))
    rule.add(one.withdraw())
    rule.close_round()
    assert rule.broadcast()["control/w"].item() == 5.0
    assert one.withdraw() == {}  # once
    rule.add(other.withdraw())
    rule.close_round()
    assert "control/w" not in rule.broadcast()


def test_weights_are_finished_where_they_were_trained():
    rule = server()
    rule.add(OwnControls().replace({"w": torch.tensor([1.0])}, {"w": 10}))
    rule.close_round()
    assert rule.weights()["w"].item() == 0.0
    rule.add({"precision_mean/w": torch.tensor([8.0]), "precision/w": torch.tensor([2.0])})
    rule.close_round()
    assert rule.weights()["w"].item() == 3.0  # 8 / 2 - 1


@pytest.mark.parametrize("wrong", ["control/w", "precision_mean/w"])
def test_a_message_that_does_not_fit_is_refused_whole(wrong):
    rule = server()
    message = {"precision_mean/w": torch.ones(1), "precision/w": torch.ones(1), "control/w": torch.ones(1)}
    message["count/w"] = torch.tensor(1.0)
    before = rule.state_dict()
    with pytest.raises(ValueError, match="not finite"):
        rule.add({**message, wrong: torch.tensor([torch.nan])})
    assert rule.state_dict() == before
