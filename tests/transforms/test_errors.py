import pickle

import pytest

from mtmedformer_monai.transforms import errors

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.RadiographError)]


@pytest.mark.parametrize("kind", KINDS)
def test_message_and_pickle(kind):
    """Data loader workers send their errors by pickle."""
    rule = ("animals",) if kind is errors.RefusedImageError else ()
    error = kind("/secret/folder/a.dcm", "it is empty", "fill it", *rule)
    assert str(error) == "a.dcm: it is empty; fill it."
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error)
    assert (copy.advice, getattr(copy, "rule", "animals")) == ("it is empty; fill it", "animals")
    assert isinstance(error, ValueError)
