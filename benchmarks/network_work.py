"""Training and inference of a network on one batch, on a CPU or a GPU, and what they cost in time and memory."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch
from torch import Tensor, nn

from mtmedformer_monai.losses.hybrid import HybridLoss
from mtmedformer_monai.tasks import Task


@dataclass(frozen=True)
class Device:
    """The device and the way to run on it.

    Attributes:
        name: such as 'cpu' or 'cuda'.
        amp: whether forward passes run in bfloat16.
        compile: whether networks are compiled.
        channels_last: whether maps are stored with their channels last.
        fused: whether the optimizer is one kernel.
    """

    name: str = "cpu"
    amp: bool = False
    compile: bool = False
    channels_last: bool = False
    fused: bool = False

    @property
    def is_cpu(self) -> bool:
        """Whether the device is the CPU."""
        return torch.device(self.name).type == "cpu"

    def place(self, network: nn.Module) -> nn.Module:
        """Returns the network on the device."""
        network = network.to(self.name, memory_format=self._format)
        return torch.compile(network) if self.compile else network

    def move(self, image: Tensor) -> Tensor:
        """Returns an image (B, 1, H, W) on the device."""
        return image.to(self.name, memory_format=self._format)

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Runs a forward pass in bfloat16, if that is chosen."""
        with torch.autocast(torch.device(self.name).type, torch.bfloat16, enabled=self.amp):
            yield

    def seconds(self, run: Callable[[], None]) -> float:
        """Returns the CPU time of a run, or the time until a GPU has completed it."""
        if self.is_cpu:
            start = time.process_time()
            run()
            return time.process_time() - start
        torch.cuda.synchronize(self.name)
        start = time.perf_counter()
        run()
        torch.cuda.synchronize(self.name)
        return time.perf_counter() - start

    @property
    def _format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format


CPU = Device()


class Work:
    """Training and inference of a network on one batch.

    Args:
        network: to measure.
        tasks: what it is trained for.
        batch: images and targets of all tasks, as `make_batch` returns them.
        device: where it runs.

    Attributes:
        network: on the device.
        train_s: seconds of each training step that was measured.
        infer_s: seconds of each inference that was measured.
    """

    def __init__(
        self, network: nn.Module, tasks: list[Task], batch: tuple[Tensor, dict[str, Tensor]], device: Device = CPU
    ) -> None:
        image, targets = batch
        self._tasks, self._device, self._image = tasks, device, device.move(image)
        self._targets = {name: value.to(device.name) for name, value in targets.items()}
        self.network = device.place(network)
        self._loss = HybridLoss(tasks).to(device.name)
        self._optimizer = torch.optim.AdamW(self.network.parameters(), fused=device.fused)
        self.train_s: list[float] = []
        self.infer_s: list[float] = []

    def train(self) -> None:
        """Runs one training step."""
        self.network.train()
        self._optimizer.zero_grad()
        with self._device.autocast():
            loss = self._loss(self.network(self._image), self._targets)
        loss.backward()
        self._optimizer.step()

    @torch.inference_mode()
    def infer(self) -> None:
        """Runs inference on the batch, up to probabilities."""
        self.network.eval()
        with self._device.autocast():
            outputs = self.network(self._image)
        for task in self._tasks:
            task.activate(outputs[task.name])

    def measure(self) -> None:
        """Records the seconds of one training step and one inference."""
        for run, seconds in ((self.train, self.train_s), (self.infer, self.infer_s)):
            seconds.append(self._device.seconds(run))


def make_batch(size: int, batch: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns noise images with targets for all tasks."""
    torch.manual_seed(0)
    mask = (torch.rand(batch, 1, size, size) > 0.7).float()
    boxes = torch.full((batch, 16, 5), -1.0)
    boxes[:, 0] = torch.tensor([0.2 * size, 0.3 * size, 0.4 * size, 0.6 * size, 0])
    label = torch.arange(batch) % 2.0
    targets = {"lung": mask, "opacity": mask, "opacity_box": boxes, "finding": label, "pneumonia_type": label}
    return torch.rand(batch, 1, size, size), targets


def peak_mib() -> float:
    """Returns the peak resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report_memory(
    make: Callable[[], nn.Module], tasks: list[Task], size: int, batch: int, threads: int, steps: int, to: Connection
) -> None:
    """Runs in a separate process: sends the increases of its peak by training and inference, in MiB."""
    torch.set_num_threads(threads)
    before = peak_mib()
    work = Work(make(), tasks, make_batch(size, batch))
    work.infer()
    inference = peak_mib() - before
    for _ in range(steps):
        work.train()
    to.send((peak_mib() - before, inference))


def measure_memory(
    make: Callable[[], nn.Module], tasks: list[Task], size: int, batch: int, threads: int, steps: int = 2
) -> tuple[float, float]:
    """Returns the peak MiB of training and of inference on the CPU.

    Args:
        make: creates the network.
        tasks: what it is trained for.
        size: rows and columns.
        batch: number of images.
        threads: number of CPU threads.
        steps: training steps, of which the first creates the optimizer's state; 0 measures inference alone.
    """
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=report_memory, args=(make, tasks, size, batch, threads, steps, there))
    process.start()
    there.close()
    memory: tuple[float, float] = here.recv()
    process.join()
    return memory
