"""Compressed messages, for PVI clients that round changes of precision (`coded_precision`).

A change of precision takes one byte per weight (`precision_code.encode_signed`), a precision-weighted mean four bytes
or two, and a constant tensor, such as the number of images in a plain average, four bytes in total. The rounding error
is kept by the client and added to the next message (error feedback: Seide et al., Interspeech 2014), so that nothing is
lost in the long run.

Codes are logarithms and cannot be added: the server decodes a message before adding it. To sum encoded numbers (secure
aggregation), use a fixed-point encoding instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from mtmedformer_monai.uncertainty.precision_code import PrecisionCode, decode_signed, encode_signed

from .message import Message, TensorKind
from .tensor_sums import compact, constant, is_constant

Packet = dict[str, Tensor]
"""{`form:kind/parameter`: tensor}: a message as it is transmitted."""

PLAIN: Final = "plain"
"""Form: the unchanged tensor."""
CODES: Final = "codes"
"""Form: signed logarithms, int8."""
HALF: Final = "half"
"""Form: float16, in units of a power of two."""
SCALE: Final = "scale"
"""With CODES, float64 (2,): smallest logarithm and step. With HALF, float32 (1,): the unit."""
REPEATED: Final = "repeated"
"""Form: the single value of a constant tensor, (1,)."""
SHAPE: Final = "shape"
"""With REPEATED, int64: shape of the tensor."""


class Wire:
    """The client's encoder, which keeps the rounding error between messages.

    Args:
        half_mean: whether precision-weighted means take two bytes instead of four.
    """

    def __init__(self, half_mean: bool = False) -> None:
        self._half_mean = half_mean
        self._residual: Message = {}

    def encode(self, message: Mapping[str, Tensor]) -> Packet:
        """Encodes a message together with the rounding error of earlier messages.

        Args:
            message: finite terms of sums.
        """
        packet: Packet = {}
        for name, value in message.items():
            whole = value + self._residual.get(name, 0.0)
            coded = self._encode(name, whole)
            packet.update(coded)
            self._residual[name] = whole - decode(coded)[name]
            if not bool(self._residual[name].any()):
                del self._residual[name]
        return packet

    def encode_last(self, message: Mapping[str, Tensor]) -> Packet:
        """Encodes a final message without rounding, including the remaining rounding error of its tensors.

        That of other tensors, terms of averages of which the server keeps nothing, is forgotten.
        """
        packet = {f"{PLAIN}:{name}": value + self._residual.get(name, 0.0) for name, value in message.items()}
        self._residual = {}
        return packet

    def clear(self) -> None:
        """Forgets the rounding error, when what it belongs to has ended."""
        self._residual = {}

    def state_dict(self) -> dict[str, Any]:
        """Returns the rounding error."""
        return {"residual": dict(self._residual)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the rounding error."""
        self._residual = dict(state["residual"])

    def _encode(self, name: str, value: Tensor) -> Packet:
        kind = name.partition("/")[0]
        if value.numel() > 1 and bool((value == value.flatten()[0]).all()):
            shape = torch.tensor(value.shape, dtype=torch.int64)
            return {f"{REPEATED}:{name}": value.flatten()[:1].clone(), f"{SHAPE}:{name}": shape}
        if kind == TensorKind.PRECISION and value.numel() > 1:
            code = encode_signed(value)
            scale = torch.tensor([code.low, code.step], dtype=torch.float64)
            return {f"{CODES}:{name}": code.codes, f"{SCALE}:{name}": scale}
        if kind == TensorKind.PRECISION_MEAN and self._half_mean:
            unit = _unit(value)
            return {f"{HALF}:{name}": (value / unit).half().view(value.shape), f"{SCALE}:{name}": unit}
        return {f"{PLAIN}:{name}": value}


def decode(packet: Mapping[str, Tensor]) -> Message:
    """Returns the message of a packet, for the server to add.

    Raises:
        ValueError: not a packet.

    Example:
        >>> sent = {"precision_mean/w": torch.tensor([1.0, 2.0]), "precision/w": torch.tensor([8.0, 8.0])}
        >>> decode(Wire().encode(sent))
        {'precision_mean/w': tensor([1., 2.]), 'precision/w': tensor([8., 8.])}
    """
    message: Message = {}
    for full, value in packet.items():
        form, _, name = full.partition(":")
        if form == PLAIN:
            message[name] = value
        elif form == REPEATED:
            message[name] = _expanded(name, value, packet[f"{SHAPE}:{name}"].tolist())
        elif form == HALF:
            message[name] = value.float() * _number(name, packet[f"{SCALE}:{name}"])
        elif form == CODES:
            low, step = packet[f"{SCALE}:{name}"].tolist()
            message[name] = decode_signed(PrecisionCode(value, low, step))
        elif form not in (SCALE, SHAPE):
            raise ValueError(f"a packet expects names such as '{CODES}:precision/weight', got {full!r}.")
    return message


def _number(name: str, value: Tensor) -> Tensor:
    if value.numel() != 1:
        raise ValueError(f"the unit of {name!r} expects one number, got {value.numel()}.")
    return value.reshape(())


def _expanded(name: str, value: Tensor, shape: Any) -> Tensor:
    try:
        return value.expand(shape)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"{name!r} expects one number and its shape, got {shape!r}.") from error


def without_repeats(message: Mapping[str, Tensor]) -> tuple[Message, dict[str, list[int]]]:
    """Returns a message for transmission, in which a precision that is constant over a tensor takes one number.

    This loses nothing, and applies to every strategy, in both directions.

    Returns:
        The tensors, and {name: shape} of the precisions that are one number, which `with_repeats` needs.

    Example:
        >>> without_repeats({"precision/w": torch.full((3, 2), 5.0)})
        ({'precision/w': tensor([5.])}, {'precision/w': [3, 2]})
    """
    tensors, shapes = dict(message), {}
    for name, value in message.items():
        if not _is_precision(name) or value.numel() < 2:
            continue
        found = constant(value.detach())
        if is_constant(found):
            tensors[name], shapes[name] = compact(found).reshape(1).clone(), list(value.shape)
    return tensors, shapes


def with_repeats(tensors: Mapping[str, Tensor], shapes: Mapping[str, Any]) -> Message:
    """Returns the message of `without_repeats`; constant precisions are views of one number.

    Raises:
        ValueError: a shape of something else than a precision of one number, or not a shape.
    """
    message = dict(tensors)
    for name, shape in shapes.items():
        value = tensors.get(name)
        if not (isinstance(value, Tensor) and value.numel() == 1 and _is_repeated(name, shape)):
            raise ValueError(
                f"the shape of {name!r} expects a precision of one number and positive sizes, got {shape!r}."
            )
        message[name] = _expanded(name, value if value.ndim == 1 and shape else value.reshape(()), shape)
    return message


def _is_precision(name: str) -> bool:
    """Returns whether a tensor is a precision: a site's, the posterior's, or a teacher's."""
    return name.partition("/")[0].partition("@")[0].endswith(TensorKind.PRECISION)


def _is_repeated(name: Any, shape: Any) -> bool:
    """Returns whether a name is that of a precision, and a shape a list of positive sizes."""
    if not (isinstance(name, str) and _is_precision(name) and isinstance(shape, list | tuple)):
        return False
    return set(map(type, shape)) <= {int} and min(shape, default=1) > 0


def num_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Returns the size in bytes of all tensors in a packet or message, without names."""
    return sum(value.numel() * value.element_size() for value in tensors.values())


def _unit(value: Tensor) -> Tensor:
    """Returns the power of two that scales the largest absolute value to between 0.5 and 1, float32 (1,)."""
    largest = float(value.abs().max()) if value.numel() else 0.0
    exponent = torch.tensor([largest]).log2().ceil() if largest > 0 else torch.zeros(1)
    return torch.exp2(exponent)
