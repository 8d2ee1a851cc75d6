"""What a network's weights were trained for, in a JSON file beside them: image size, tasks and classes.

The weights themselves stay a flat state dict, as the model zoo wants them; `model.json` belongs to `model.pt` by its
SHA-256.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ignite.engine import Engine, Events

from mtmedformer_monai.io.atomic_files import write_atomically
from mtmedformer_monai.io.file_sha256 import file_sha256
from mtmedformer_monai.tasks.base import Task

_logger = logging.getLogger(__name__)

_FACTS = ("classes", "structures", "kind")
"""Attributes of tasks that give the outputs their meaning."""


def card_path(weights_path: str | Path) -> Path:
    """`model.json` of `model.pt`."""
    return Path(weights_path).with_suffix(".json")


def describe_model(tasks: Sequence[Task], image_size: Sequence[int]) -> dict[str, Any]:
    """Image size (rows, columns) and tasks in plain Python."""
    described = []
    for task in tasks:
        facts = {name: getattr(task, name, ()) for name in _FACTS}
        facts = {name: fact if isinstance(fact, str) else list(fact) for name, fact in facts.items() if fact}
        described.append({"name": task.name, "type": type(task).__name__, **facts})
    return {"image_size": [int(length) for length in image_size], "tasks": described}


def write_card(weights_path: str | Path, model: Mapping[str, Any]) -> None:
    """Writes the card of weights that were just written.

    Args:
        weights_path: of the weights.
        model: as of `describe_model`.
    """
    path = Path(weights_path)
    content = {"weights": {"file": path.name, "sha256": file_sha256(path)}, **model}
    write_atomically(card_path(path), lambda file: file.write(f"{json.dumps(content, indent=4)}\n".encode()))


def find_mismatches(card: Mapping[str, Any], model: Mapping[str, Any]) -> list[str]:
    """What weights and config disagree on, in words.

    Args:
        card: of the weights.
        model: as of `describe_model`, of the config.
    """
    found = []
    if list(card.get("image_size", [])) != list(model["image_size"]):
        found.append(f"image_size is {card.get('image_size')} of the weights and {model['image_size']} of the config")
    trained, wanted = ({task["name"]: dict(task) for task in part.get("tasks", [])} for part in (card, model))
    if set(trained) != set(wanted):
        found.append(f"the tasks are {sorted(trained)} of the weights and {sorted(wanted)} of the config")
    for name in sorted(set(trained) & set(wanted)):
        for fact in sorted({*trained[name], *wanted[name]}):
            ours, theirs = trained[name].get(fact), wanted[name].get(fact)
            if ours != theirs:
                found.append(f"{fact} of task {name!r} is {ours} of the weights and {theirs} of the config")
    return found


class CheckWeights:
    """Compares, before they are loaded, what weights were trained for with what the config says.

    Put it before the handler that loads them. Weights without a card, or whose card belongs to other weights, are
    loaded with a warning.

    Args:
        path: of the weights.
        tasks: the config's.
        image_size: (rows, columns) of the network's input, the config's.
        on_mismatch: 'raise', or 'warn' where the difference is meant.

    Raises:
        ValueError: another `on_mismatch`.
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
        """Registers on an engine."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Checks.

        Raises:
            FileNotFoundError: there are no weights.
            ValueError: weights and config disagree; names both.
        """
        if not self._path.is_file():
            raise FileNotFoundError(f"no weights at {self._path}; name the file by --ckpt_path, or train first.")
        card = self._read()
        mismatches = find_mismatches(card, self._model) if card is not None else []
        if not mismatches:
            return
        text = f"the weights {self._path} don't fit the config: {'; '.join(mismatches)}"
        if self._on_mismatch == "raise":
            raise ValueError(
                f"{text}. Set the config's values to those of the weights, name other weights by --ckpt_path, or "
                "accept it by --on_weights_mismatch warn."
            )
        _logger.warning("%s.", text)

    def _read(self) -> dict[str, Any] | None:
        path = card_path(self._path)
        if not path.is_file():
            _logger.warning("No %s beside the weights: that they fit the config is not checked.", path.name)
            return None
        try:
            card = dict(json.loads(path.read_text(encoding="utf-8")))
            digest = card["weights"]["sha256"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is no description of weights ({error}); delete it, or write it anew.") from error
        if digest != file_sha256(self._path):
            _logger.warning("%s describes other weights than %s: it is not heeded.", path, self._path.name)
            return None
        return card
