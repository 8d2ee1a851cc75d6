import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from monai.fl.utils.exchange_object import ExchangeObject

from mtmedformer_monai.federated.exchange import ACCEPTED, ROUND, to_exchange, write_exchange
from mtmedformer_monai.federated.simulation import worker
from mtmedformer_monai.io.atomic_files import load_checkpoint, save_checkpoint

LAUNCHER = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from mtmedformer_monai.federated.simulation import worker

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), worker.start_process, (1,))
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


class CountingClient:
    """Its state, message and metric are the number of rounds that it counts on."""

    def __init__(self):
        self.count = 0

    def save(self, folder):
        save_checkpoint({"count": self.count}, folder / "client.pt")

    def restore(self, folder):
        self.count = load_checkpoint(folder / "client.pt")["count"]

    def train(self, broadcast):
        self.count += 1

    def get_weights(self):
        return to_exchange(self.inference_weights({}), {})

    def inference_weights(self, broadcast):
        return {"count": torch.tensor(self.count)}

    def evaluate(self, broadcast):
        return ExchangeObject(metrics={"count": float(self.count)})


def test_a_site_returns_to_the_state_after_its_last_accepted_message(tmp_path, monkeypatch):
    """The server accepts the messages of the rounds 1 and 4 of 5."""
    spec = worker.SiteSpec("a", tmp_path, tmp_path / "a", "bayesian")
    monkeypatch.setitem(worker._CLIENTS, spec.folder, CountingClient())

    def broadcast(number, accepted):
        return write_exchange(to_exchange({}, {ROUND: number, ACCEPTED: accepted - 1}), spec.folder / "broadcast.pt")

    accepted = count = 0
    for number, is_accepted in enumerate([True, False, False, True, False], 1):
        sent = load_checkpoint(worker.train(spec, number, broadcast(number - 1, accepted)))["weights"]
        assert int(sent["count"]) == count + 1
        accepted, count = (number, count + 1) if is_accepted else (accepted, count)
        after = broadcast(number, accepted)
        assert worker.evaluate_site(spec, after) == {"count": count}
        assert int(load_checkpoint(worker.write_client_weights(spec, after))["count"]) == count
    assert count == 2
