"""Cost and error of sums under FLARE's homomorphic encryption (CKKS, TenSEAL), for the chest bundle's network.

    pip install 'mtmedformer-monai[flare]' tenseal && python benchmarks/he_cost.py --part heads

Three clients send natural parameters of the network, as the strategy `bayesian` with isotropic precisions does. FLARE's
own encryptor, aggregator and decryptor, with the parameters of its provisioning (degree 8192, moduli of 60, 40 and 40
bits, scale 2^40), sum the precision-weighted means; precisions depend on numbers of images alone, and are sent in the
clear. Everything runs in this process, without transport.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import tenseal
import torch
from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey, ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_opt.he.intime_accumulate_model_aggregator import HEInTimeAccumulateWeightedAggregator
from nvflare.app_opt.he.model_decryptor import HEModelDecryptor
from nvflare.app_opt.he.model_encryptor import HEModelEncryptor
from torch import Tensor

PARTS: Final = {"heads": "^precision_mean/decoders", "all": "^precision_mean/"}
"""{part: which tensors are encrypted}."""
NUM_CLIENTS: Final = 3

Message = Mapping[str, Tensor]


@dataclass(frozen=True)
class Cost:
    """What a sum cost.

    Attributes:
        encrypt: seconds per client.
        add: seconds of the server, per client.
        decrypt: seconds per client.
        num_bytes: of the ciphertexts that one client sends.
        num_values: that they encrypt.
    """

    encrypt: float
    add: float
    decrypt: float
    num_bytes: int
    num_values: int


def make_context() -> Any:
    """Returns a context with the parameters of FLARE's `HEBuilder`, with the secret key that clients have."""
    moduli, symmetric = [60, 40, 40], tenseal.ENCRYPTION_TYPE.SYMMETRIC
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=moduli, encryption_type=symmetric)
    context.generate_relin_keys()
    context.global_scale = 2**40
    return context


def encrypted_sum(messages: Sequence[Message], encrypted: str) -> tuple[dict[str, Tensor], Cost]:
    """Returns the sum of messages as FLARE computes it, decrypted at a client, and its cost.

    Args:
        messages: with the same tensors.
        encrypted: regular expression of the encrypted tensors.
    """
    context, fl_ctx = make_context(), _flare_context()
    aggregator = HEInTimeAccumulateWeightedAggregator(expected_data_kind=DataKind.WEIGHTS)
    aggregator.handle_event(EventType.START_RUN, fl_ctx)
    encrypt = add = 0.0
    for number, message in enumerate(messages):
        encryptor = HEModelEncryptor(encrypt_layers=encrypted, weigh_by_local_iter=False)
        encryptor.tenseal_context = context
        dxo = DXO(DataKind.WEIGHTS, data={name: value.numpy().copy() for name, value in message.items()})
        sent, spent = _timed(encryptor.process, dxo.to_shareable(), fl_ctx)
        encrypt += spent
        vectors = [each for each in from_shareable(sent).data.values() if isinstance(each, tenseal.CKKSVector)]
        accepted, spent = _timed(aggregator.accept, _from(sent, f"site_{number}"), fl_ctx)
        add += spent
        if not accepted:
            raise RuntimeError("FLARE's aggregator refused a message; see its log.")
    num_bytes, num_values = sum(len(each.serialize()) for each in vectors), sum(each.size() for each in vectors)
    total, spent = _timed(aggregator.aggregate, fl_ctx)
    add += spent
    decryptor = HEModelDecryptor()
    decryptor.tenseal_context = context
    decrypted, decrypt = _timed(decryptor.process, total, fl_ctx)
    mean, count = from_shareable(decrypted).data, len(messages)
    shapes = {name: value.shape for name, value in messages[0].items()}
    found = {name: torch.as_tensor(np.asarray(mean[name])).reshape(shapes[name]) * count for name in shapes}
    return found, Cost(encrypt / count, add / count, decrypt, num_bytes, num_values)


def main() -> None:
    """Prints the cost and the error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, default="all")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    messages = chest_messages()
    found, cost = encrypted_sum(messages, PARTS[options.part])
    plain = {name: sum(message[name].double() for message in messages) for name in messages[0]}
    errors = relative_errors(found, plain)
    size = sum(value.numel() * 4 for value in messages[0].values())
    print(f"{options.part}: {cost.num_values:,} values encrypted")
    print(f"ciphertexts {cost.num_bytes / 1e6:.1f} MB per client, plain message {size / 1e6:.1f} MB")
    print(f"CPU seconds per client: encrypt {cost.encrypt:.2f} s, add {cost.add:.2f} s, decrypt {cost.decrypt:.2f} s")
    print(f"largest error of a weight {errors['weight']:.1e}, of a sum over its tensor's scale {errors['sum']:.1e}")


def relative_errors(found: Message, plain: Message) -> dict[str, float]:
    """Returns the largest error of a mean weight (sum / precision), and of a sum relative to its tensor's scale."""
    weight = largest = 0.0
    for name, value in plain.items():
        if name.startswith("precision_mean/"):
            error = (found[name].double() - value).abs().max()
            largest = max(largest, float(error / value.square().mean().sqrt().clamp(min=1e-12)))
            precision = plain[name.replace("precision_mean/", "precision/", 1)]
            weight = max(weight, float(error / precision.min()))
    return {"weight": weight, "sum": largest}


def chest_messages() -> list[Message]:
    """Returns the first messages of three clients whose weights differ slightly."""
    from mtmedformer_monai.federated.message import TensorKind, without
    from mtmedformer_monai.federated.pvi.strategy import PVI
    from mtmedformer_monai.federated.simulation.bundle_parts import initial_weights
    from mtmedformer_monai.federated.strategy import LocalTraining

    weights = initial_weights(Path(__file__).parents[1] / "bundles/chest_xray_multitask", {}, 0)
    messages, generator = [], torch.Generator().manual_seed(0)
    for number in range(NUM_CLIENTS):
        strategy = PVI()
        client = strategy.client()
        client.receive(strategy.server(weights).broadcast())
        trained = {key: value + 0.01 * torch.randn(value.shape, generator=generator) for key, value in weights.items()}
        counts = dict.fromkeys(weights, 100 + 50 * number)
        message = client.send(LocalTraining(trained, counts, images_by_task={"lung": 100}))
        messages.append(without(without(message, TensorKind.MOMENTS), TensorKind.GROUP))
    return messages


def _timed(call: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    started = time.process_time()
    return call(*arguments), time.process_time() - started


def _flare_context() -> FLContext:
    fl_ctx, peer = FLContext(), FLContext()
    peer.set_prop(ReservedKey.IDENTITY_NAME, "site", private=False)
    fl_ctx.set_peer_context(peer)
    fl_ctx.set_prop(AppConstants.CURRENT_ROUND, 0, private=True, sticky=False)
    fl_ctx.set_prop(FLContextKey.CURRENT_RUN, "run", private=True, sticky=False)
    return fl_ctx


def _from(shareable: Shareable, site: str) -> Shareable:
    shareable.set_peer_props({ReservedKey.IDENTITY_NAME: site})
    shareable.add_cookie(AppConstants.CONTRIBUTION_ROUND, 0)
    return shareable


if __name__ == "__main__":
    main()
