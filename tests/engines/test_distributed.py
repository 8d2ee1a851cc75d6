"""Two processes train one network with gloo: one of them writes, and both compute the same metrics."""

import math
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from mtmedformer_monai.engines import ExamplePictures, History, Progress, RunSummary, SaveCheckpoints
from mtmedformer_monai.io.atomic_files import load_checkpoint
from tests.engines.tiny_training import TinyNetwork, build_training


def worker(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)  # OpenMP threads do not survive a fork
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    training, out = build_training(2), Path(folder) / f"of_{rank}"
    training.trainer.network = DistributedDataParallel(training.network)
    half = training.evaluator.data_loader.dataset
    half.data = half.data[rank::2]
    history = History(str(out / "history.json"), training.evaluator)
    training.attach(
        SaveCheckpoints(training.state, str(out / "checkpoint.pt"), str(out / "model.pt")),
        history,
        ExamplePictures(training.tasks, str(out), training.evaluator),
        RunSummary(training.tasks, str(out), history),
        Progress(training.evaluator),
    ).run()
    metrics: dict[str, Any] = {"train": training.trainer.state.metrics, "validation": training.evaluator.state.metrics}
    torch.save({"metrics": metrics, "network": training.network.state_dict()}, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_process_0_writes_and_all_processes_agree(tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    mp.start_processes(worker, (port, str(tmp_path)), nprocs=2, start_method="fork")  # spawn imports MONAI: 20 s
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    written = {"checkpoint.pt", "examples.png", "history.json", "metrics.json", "model.pt"}
    assert {p.name for p in (tmp_path / "of_0").iterdir()} == written
    assert not (tmp_path / "of_1").exists()
    for part in ("train", "validation"):
        assert not any(math.isnan(v) for k, v in first["metrics"][part].items() if k.startswith("loss"))
        assert first["metrics"][part] == pytest.approx(second["metrics"][part], nan_ok=True)
    assert all(torch.equal(v, second["network"][k]) for k, v in first["network"].items())
    TinyNetwork().load_state_dict(load_checkpoint(tmp_path / "of_0" / "model.pt"))
