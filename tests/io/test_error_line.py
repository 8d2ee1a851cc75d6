"""The last line of a failed run is the original message without MONAI's wrappers."""

import subprocess
import sys

import pytest
from monai.bundle import ConfigParser
from monai.transforms import Compose, Lambda

from mtmedformer_monai.io.error_line import LONGEST, error_line, root_cause


def fail(_):
    raise ValueError("it is cut short;\n fetch it again.")


def caught(call):
    with pytest.raises(RuntimeError) as error:
        call()
    return error.value


def test_errors_wrapped_by_transforms():
    error = caught(lambda: Compose([Lambda(fail)])(1))
    assert type(root_cause(error)) is ValueError
    assert error_line(error) == "error: it is cut short; fetch it again."


def test_errors_wrapped_by_expressions_and_components():
    parser = ConfigParser({"a": "$int('x')", "b": {"_target_": "builtins.int", "_args_": ["x"]}, "c": "$@a"})
    for name in ("a", "c"):
        line = error_line(caught(lambda name=name: parser.get_parsed_content(name)))
        assert line == "error: invalid literal for int() with base 10: 'x'"


def test_an_error_raised_from_another_keeps_its_own_message():
    def read():
        try:
            fail(None)
        except ValueError as error:
            raise ValueError("a.png: damaged; leave it out.") from error

    with pytest.raises(ValueError, match="damaged") as error:
        read()
    assert error_line(error.value) == "error: a.png: damaged; leave it out."


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (KeyError("no label"), "error: KeyError: no label"),
        (TypeError("unexpected"), "error: TypeError: unexpected"),
        (MemoryError(), "error: MemoryError"),
        (FileNotFoundError(2, "No such file", "a.png"), "error: [Errno 2] No such file: 'a.png'"),
    ],
)
def test_kinds_of_errors(error, line):
    assert error_line(error) == line


def test_a_long_message_is_truncated():
    assert len(error_line(ValueError("x" * 10 * LONGEST))) < LONGEST + 20


def test_the_error_of_a_worker_is_extracted_from_its_traceback():
    from torch.utils.data import DataLoader

    class Broken:
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return Compose([Lambda(fail)])(index)

    with pytest.raises(RuntimeError) as error:
        list(DataLoader(Broken(), num_workers=1, multiprocessing_context="fork"))
    assert error_line(error.value).endswith(" it is cut short; fetch it again.")


def test_the_last_line_that_a_process_prints():
    code = (
        "from mtmedformer_monai.io.error_line import show_error_last as show; show(); show()\n"
        "raise ValueError('max_epochs expects 1 or more, got 0;\\n raise it.')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert lines[-1] == "error: max_epochs expects 1 or more, got 0; raise it."
    assert sum(line.startswith("error:") for line in lines) == 1
    assert lines[0].startswith("Traceback")
