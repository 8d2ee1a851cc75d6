import logging
import pickle

from mtmedformer_monai.transforms.warn_once import WarnOnce


def test_each_file_and_message_once_by_base_name(caplog):
    warn = WarnOnce(logging.getLogger("test_warn_once"))
    for path, message in [("/jane_doe/a.dcm", "odd"), ("/jane_doe/a.dcm", "odd"), ("/jane_doe/b.dcm", "odd")]:
        warn(path, message)
    warn("/jane_doe/a.dcm", "odder")
    assert caplog.messages == ["a.dcm: odd", "b.dcm: odd", "a.dcm: odder"]


def test_it_can_be_pickled():
    warn = WarnOnce(logging.getLogger("test_warn_once"))
    warn("a", "b")
    assert pickle.loads(pickle.dumps(warn)).seen == {("a", "b")}
