import pytest

from mtmedformer_monai.tasks import ClassificationTask


@pytest.mark.parametrize("name", ["two words", "", "1st", "a-b", "a.b"])
def test_names_are_identifiers(name):
    with pytest.raises(ValueError, match="is not an identifier"):
        ClassificationTask(name, ["a", "b"])


def test_weights_are_not_negative():
    with pytest.raises(ValueError, match=r"task 't' expects a weight of 0 or more, got -1"):
        ClassificationTask("t", ["a", "b"], weight=-1)
