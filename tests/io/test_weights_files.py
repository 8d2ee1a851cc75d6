from mtmedformer_monai.io.weights_files import CALIBRATION, GUARD, companion, set_aside


def test_companions_follow_weights_that_are_set_aside(tmp_path):
    weights, previous = tmp_path / "model.pt", tmp_path / "model_previous.pt"
    (tmp_path / "guard.pt").write_text("guard")
    (tmp_path / "calibration_previous.json").write_text("older")
    assert set_aside(weights, previous) == [tmp_path / "guard_previous.pt"]
    assert companion(previous, GUARD).read_text() == "guard"
    assert not companion(weights, GUARD).exists()
    assert not companion(previous, CALIBRATION).exists()  # it belonged to the copy that is replaced
    (tmp_path / "calibration.json").write_text("newer")
    set_aside(weights, previous)
    assert companion(previous, CALIBRATION).read_text() == "newer"
