import pickle

import pytest

from mtmedformer_monai.transforms import errors

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.RadiographError)]


@pytest.mark.parametrize("kind", KINDS)
def test_message_and_pickle(kind):
    """Data loader workers send their errors by pickle."""
    error = kind("/secret/folder/a.dcm", "it is empty", "fill it")
    assert str(error) == "a.dcm: it is empty; fill it."
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error)
    assert isinstance(error, ValueError)
