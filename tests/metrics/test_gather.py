"""Two processes with gloo compute the metrics of all images."""

import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from mtmedformer_monai.metrics import ClassificationMetric, SegmentationMetric


def batches() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    probs = torch.rand(5, 2).softmax(1)
    return probs, torch.tensor([0.0, 1, 1, 0, 1]), torch.rand(5, 1, 8, 8), (torch.rand(5, 1, 8, 8) > 0.5).float()


def metrics_of(part: slice) -> dict[str, float]:
    probs, labels, maps, masks = (b[part] for b in batches())
    classes, structures = ClassificationMetric(["a", "b"], "binary"), SegmentationMetric(["lung"])
    classes.update(probs, labels)
    if len(maps) > 2:  # the other process has no mask
        structures.update(maps[:3], masks[:3])
    return classes.compute() | structures.compute()


def worker(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)  # OpenMP threads do not survive a fork
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.save(metrics_of(slice(0, 2) if rank == 0 else slice(2, 5)), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_every_process_gets_the_metrics_of_all_images(tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    mp.start_processes(worker, (port, str(tmp_path)), nprocs=2, start_method="fork")  # spawn imports MONAI: 20 s
    probs, labels, maps, masks = batches()
    classes, structures = ClassificationMetric(["a", "b"], "binary"), SegmentationMetric(["lung"])
    classes.update(probs, labels)
    structures.update(maps[2:5], masks[2:5])
    expected = classes.compute() | structures.compute()
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt") == pytest.approx(expected)
