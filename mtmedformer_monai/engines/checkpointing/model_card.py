"""Records what a network's weights were trained for, in a JSON file beside them: image size, tasks and classes.

The weights remain a flat state dict, as the model zoo requires; `model.json` refers to `model.pt` by its SHA-256.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ignite.engine import Engine, Events
from torch import Tensor, nn

from mtmedformer_monai.io.atomic_files import load_checkpoint, write_atomically
from mtmedformer_monai.io.file_sha256 import file_sha256
from mtmedformer_monai.tasks.base import Task

from .training_state import bare

_logger = logging.getLogger(__name__)

_FACTS = ("classes", "structures", "kind")
"""Attributes of tasks that define the meaning of their outputs."""


def card_path(weights_path: str | Path) -> Path:
    """Returns the path of the model card, `model.json` for `model.pt`."""
    return Path(weights_path).with_suffix(".json")


def describe_model(tasks: Sequence[Task], image_size: Sequence[int]) -> dict[str, Any]:
    """Describes a model by image size (rows, columns) and tasks, as plain Python values."""
    described = []
    for task in tasks:
        given = {name: getattr(task, name, ()) for name in _FACTS}
        facts = {name: value if isinstance(value, str) else list(value) for name, value in given.items() if value}
        described.append({"name": task.name, "type": type(task).__name__, **facts})
    return {"image_size": [int(length) for length in image_size], "tasks": described}


def write_card(weights_path: str | Path, model: Mapping[str, Any]) -> None:
    """Writes the model card of an existing file of weights.

    Args:
        weights_path: file of the weights.
        model: description by `describe_model`.
    """
    path = Path(weights_path)
    _write_card(card_path(path), {"weights": {"file": path.name, "sha256": file_sha256(path)}, **model})


def copy_card(weights_path: str | Path, copy_path: str | Path) -> None:
    """Gives a copy of weights their model card; if they have none, the copy has none either.

    Args:
        weights_path: file of the weights.
        copy_path: file with the same content.
    """
    copy = card_path(copy_path)
    copy.unlink(missing_ok=True)
    if not card_path(weights_path).is_file():
        return
    try:
        card = dict(json.loads(card_path(weights_path).read_text(encoding="utf-8")))
        card["weights"] = {**card["weights"], "file": Path(copy_path).name}
    except (ValueError, TypeError, KeyError) as error:
        _logger.warning("%s is not a model card (%s) and is not kept.", card_path(weights_path), error)
        return
    _write_card(copy, card)


def find_mismatches(card: Mapping[str, Any], model: Mapping[str, Any]) -> list[str]:
    """Lists the differences between weights and config, as readable phrases.

    Args:
        card: model card of the weights.
        model: description of the config by `describe_model`.
    """
    found = []
    if list(card.get("image_size", [])) != list(model["image_size"]):
        found.append(f"image_size is {card.get('image_size')} in the weights and {model['image_size']} in the config")
    trained, wanted = ({task["name"]: dict(task) for task in part.get("tasks", [])} for part in (card, model))
    if set(trained) != set(wanted):
        found.append(f"the tasks are {sorted(trained)} in the weights and {sorted(wanted)} in the config")
    for name in sorted(set(trained) & set(wanted)):
        for fact in sorted({*trained[name], *wanted[name]}):
            ours, theirs = trained[name].get(fact), wanted[name].get(fact)
            if ours != theirs:
                found.append(f"{fact} of task {name!r} is {ours} in the weights and {theirs} in the config")
    return found


def _write_card(path: Path, content: Mapping[str, Any]) -> None:
    write_atomically(path, lambda file: file.write(f"{json.dumps(content, indent=4)}\n".encode()))


class CheckWeights:
    """Checks that weights were trained for the config's tasks and image size before they are loaded.

    List it before the handler that loads the weights. A missing card, or a card that belongs to other weights, leads to
    a warning.

    Args:
        path: file of the weights.
        tasks: tasks of the config.
        image_size: (rows, columns) of the network's input in the config.
        on_mismatch: 'raise', or 'warn' if differences are intended.

    Raises:
        ValueError: if `on_mismatch` has another value.
    """

    def __init__(
        self,
        path: str,
        tasks: Sequence[Task],
        image_size: Sequence[int],
        on_mismatch: Literal["raise", "warn"] = "raise",
    ) -> None:
        if on_mismatch not in ("raise", "warn"):
            raise ValueError(f"on_mismatch expects 'raise' or 'warn', got {on_mismatch!r}.")
        self._path = Path(path)
        self._model = describe_model(tasks, image_size)
        self._on_mismatch = on_mismatch

    def attach(self, engine: Engine) -> None:
        """Registers the handler on an engine."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Compares weights and config.

        Raises:
            FileNotFoundError: if the file of the weights does not exist.
            ValueError: if weights and config differ; the message contains both values.
        """
        if not self._path.is_file():
            raise FileNotFoundError(f"no weights at {self._path}; set --ckpt_path to their file, or train first.")
        card = self._read()
        self._report(find_mismatches(card, self._model) if card is not None else [])
        self._check_network(getattr(engine, "network", None))

    def _report(self, mismatches: Sequence[str]) -> None:
        """Raises an error or warns, as `on_mismatch` says."""
        if not mismatches:
            return
        text = f"the weights {self._path} don't fit the config: {'; '.join(mismatches)}"
        if self._on_mismatch == "raise":
            raise ValueError(
                f"{text}. Set the config's values to those of the weights, select other weights with --ckpt_path, or "
                "accept the difference with --on_weights_mismatch warn."
            )
        _logger.warning("%s.", text)

    def _check_network(self, network: nn.Module | None) -> None:
        """Raises an error if the weights belong to another architecture; without names and shapes they cannot load."""
        if network is None:
            return
        weights = load_checkpoint(self._path)
        if not isinstance(weights, Mapping):
            return
        found = {name: tuple(value.shape) for name, value in weights.items() if isinstance(value, Tensor)}
        wanted = {name: tuple(value.shape) for name, value in bare(network).state_dict().items()}
        differing = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
        if found and differing:
            first = differing[0]
            raise ValueError(
                f"the weights {self._path} belong to another network than the config: {len(differing)} of "
                f"{len(wanted)} tensors differ, such as {first!r} of shape {found.get(first)} in the weights and "
                f"{wanted.get(first)} in the config. Repeat the network options of the training "
                "(--network_def#encoder, --network_def#detail, --tasks), or select other weights with "
                "--ckpt_path."
            )

    def _read(self) -> dict[str, Any] | None:
        path = card_path(self._path)
        if not path.is_file():
            _logger.warning("No %s beside the weights: whether they fit the config is not checked.", path.name)
            return None
        try:
            card = dict(json.loads(path.read_text(encoding="utf-8")))
            digest = card["weights"]["sha256"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is not a model card ({error}); delete or rewrite it.") from error
        if digest != file_sha256(self._path):
            _logger.warning("%s describes other weights than %s and is ignored.", path, self._path.name)
            return None
        return card
