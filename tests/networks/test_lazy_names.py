import pytest

import mtmedformer_monai.networks as networks
import mtmedformer_monai.tasks as tasks


@pytest.mark.parametrize("package", [networks, tasks], ids=["networks", "tasks"])
def test_every_name_is_there(package):
    assert dir(package) == package.__all__
    for name in package.__all__:
        assert getattr(package, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = package.Nothing
