"""Studies: views are fused where the bundle has weights for it, whatever the order of the files."""

import shutil

import pytest
import torch
from monai.bundle import ConfigParser

from mtmedformer_monai.deploy.inputs import find_inputs
from mtmedformer_monai.deploy.study_fusion import load_study_fusion
from mtmedformer_monai.deploy.study_runner import RunnerOptions, StudyRunner
from tests.deploy.conftest import MAMMOGRAPHY


@pytest.fixture(scope="module")
def study_bundle(tmp_path_factory):
    """The mammography bundle with random weights of its network of studies."""
    folder = tmp_path_factory.mktemp("bundle") / MAMMOGRAPHY.name
    shutil.copytree(MAMMOGRAPHY, folder)
    parser = ConfigParser()
    parser.read_config([str(folder / "configs" / name) for name in ("inference.json", "study_inference.json")])
    torch.manual_seed(0)
    network = parser.get_parsed_content("network_def")
    (folder / "study_models").mkdir()
    torch.save(network.state_dict(), folder / "study_models" / "model.pt")
    return folder


@pytest.fixture
def fuse(study_bundle, models, cohorts, tmp_path):
    """Processes some views of one study; returns {task: {group: probabilities}}."""

    def run(*views):
        files = sorted(cohorts("mammography").glob("*00000_*"))
        chosen = [next(path for path in files if path.stem.endswith(view)) for view in views]
        options = RunnerOptions(study_bundle, tmp_path / "out", "cpu")
        runner = StudyRunner(options, image_writers=(), model=models(MAMMOGRAPHY))
        result = runner.process(find_inputs(chosen)[0][0]).result
        return {
            task: {group: found.probabilities for group, found in groups.items()}
            for task, groups in result.classes.items()
        }

    return run


def test_breasts_and_study_are_classified(fuse):
    fused = fuse("R_CC", "R_MLO", "L_CC", "L_MLO")
    assert {task: set(groups) for task, groups in fused.items()} == {
        "breast_pathology": {"R", "L"},
        "study_pathology": {"study"},
        "study_density": {"study"},
    }
    assert all(
        sum(probs.values()) == pytest.approx(1, abs=1e-5) for groups in fused.values() for probs in groups.values()
    )


def test_the_order_of_the_files_does_not_matter(fuse):
    assert fuse("L_CC", "R_MLO", "L_MLO", "R_CC") == fuse("R_CC", "R_MLO", "L_CC", "L_MLO")


def test_a_breast_does_not_depend_on_the_other_and_is_absent_without_views(fuse):
    right = fuse("R_CC", "R_MLO")["breast_pathology"]
    assert set(right) == {"R"}
    both = fuse("R_CC", "R_MLO", "L_CC", "L_MLO")["breast_pathology"]
    assert right["R"] == pytest.approx(both["R"], abs=1e-5)


def test_outputs_that_are_not_finite_cost_only_what_is_fused(study_bundle, models, cohorts, tmp_path):
    broken = tmp_path / study_bundle.name
    shutil.copytree(study_bundle, broken)
    weights = torch.load(broken / "study_models/model.pt")
    torch.save(
        {name: torch.full_like(value, torch.nan) for name, value in weights.items()}, broken / "study_models/model.pt"
    )
    runner = StudyRunner(RunnerOptions(broken, tmp_path / "out", "cpu"), (), model=models(MAMMOGRAPHY))
    outcome = runner.process(find_inputs(sorted(cohorts("mammography").glob("*00000_*")))[0][0])
    assert len(outcome.result.images) == 4
    assert dict(outcome.result.classes) == {}
    (note,) = outcome.result.notes
    assert note.startswith("The views could not be fused (FloatingPointError)")
    assert [(refusal.reason, refusal.rule) for refusal in outcome.refused] == [(note, "fusion")]


def test_a_bundle_without_weights_for_studies_fuses_nothing():
    assert load_study_fusion(MAMMOGRAPHY) is None
