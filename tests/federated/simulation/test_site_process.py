import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

LAUNCHER = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from mtmedformer_monai.federated.simulation.site_process import start_process

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), start_process, (1,))
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(600)
"""


def is_alive(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{number}/stat").read_text()
    return status.rsplit(")", 1)[1].split()[0] != "Z"  # a zombie that nobody has waited for is gone as well


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at Linux's process table")
def test_a_site_ends_with_the_simulation_that_started_it(tmp_path):
    (tmp_path / "launcher.py").write_text(LAUNCHER)
    launcher = subprocess.Popen([sys.executable, str(tmp_path / "launcher.py")], stdout=subprocess.PIPE, text=True)
    site = int(launcher.stdout.readline())
    assert is_alive(site)
    launcher.kill()
    launcher.wait()
    for _ in range(300):
        if not is_alive(site):
            return
        time.sleep(0.1)
    raise AssertionError("the site's process outlived the simulation")
