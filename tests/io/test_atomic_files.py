import os
import signal
import stat
import time
from pathlib import Path

import pytest
import torch

from mtmedformer_monai.io.atomic_files import load_checkpoint, remove_leftovers, save_checkpoint, write_atomically


def test_round_trip_and_readable_by_others(tmp_path):
    path = tmp_path / "new" / "model.pt"
    save_checkpoint({"weight": torch.arange(4.0), "epoch": 3}, path)
    loaded = load_checkpoint(path)
    assert loaded["epoch"] == 3
    assert torch.equal(loaded["weight"], torch.arange(4.0))
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    assert [p.name for p in path.parent.iterdir()] == ["model.pt"]


def test_failure_while_writing_keeps_the_old_file(tmp_path):
    path = tmp_path / "model.pt"
    save_checkpoint({"epoch": 1}, path)

    def fail_midway(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail_midway)
    assert load_checkpoint(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_process_keeps_the_old_file(tmp_path):
    """A process killed with SIGKILL while writing leaves the old file and a partial file."""
    path = tmp_path / "model.pt"
    save_checkpoint({"epoch": 1}, path)
    child = os.fork()
    if child == 0:

        def hang_midway(file):
            file.write(b"half")
            file.flush()
            time.sleep(60)

        write_atomically(path, hang_midway)
        os._exit(0)
    wait_for(lambda: any(p.stat().st_size == 4 for p in tmp_path.glob("*.partial")))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert load_checkpoint(path) == {"epoch": 1}
    assert len(remove_leftovers(tmp_path)) == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99], ids=["empty", "head", "half", "almost"])
def test_a_truncated_file_is_rejected(tmp_path, keep):
    path = tmp_path / "model.pt"
    save_checkpoint({"weight": torch.rand(1000)}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(len(whole) * keep)])
    with pytest.raises(ValueError, match=r"is not a whole file.*delete it and resume from an older one"):
        load_checkpoint(path)


def test_damaged_weights_are_rejected(tmp_path):
    path = tmp_path / "model.pt"
    save_checkpoint({"weight": torch.ones(1000)}, path)
    content = path.read_bytes()
    place = content.index(torch.ones(8).numpy().tobytes())
    path.write_bytes(content[:place] + b"\0\0\0\0" + content[place + 4 :])
    with pytest.raises(ValueError, match="wrong checksum"):
        load_checkpoint(path)


def test_code_is_rejected(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"network": torch.nn.Linear(1, 1)}, path)
    with pytest.raises(ValueError, match="more than tensors and plain values"):
        load_checkpoint(path)


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"found none at .*none\.pt"):
        load_checkpoint(tmp_path / "none.pt")


def wait_for(condition, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "the child never wrote"
        time.sleep(0.01)


def test_only_partial_checkpoints_are_removed(tmp_path):
    for name in ("model.pt.abc.partial", "notes.partial", "model.pt"):
        Path(tmp_path / name).touch()
    assert [p.name for p in remove_leftovers(tmp_path)] == ["model.pt.abc.partial"]
