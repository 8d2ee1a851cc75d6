import pytest

from tests.data.synthetic.dicom.validator import validate


@pytest.mark.parametrize(
    ("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)], ids=["in CI", "elsewhere"]
)
def test_a_missing_validator_fails_in_ci_and_is_a_reason_to_skip_elsewhere(tmp_path, monkeypatch, ci, outcome):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="dicom3tools is not installed; on Debian: apt-get install dicom3tools"):
        validate(tmp_path / "image.dcm")
