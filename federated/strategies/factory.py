"""Construction of strategies by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mtmedformer_monai.federated.choices import STRATEGIES as STRATEGIES
from mtmedformer_monai.federated.named_classes import build_by_name
from mtmedformer_monai.federated.screening import Screening
from mtmedformer_monai.federated.strategy import Strategy

from .compressed import Compressed
from .distillation_settings import SETTINGS as PHASE_SETTINGS
from .distillation_settings import distilled

BAYESIAN: Final = "bayesian"
SCREENED: Final = "screened"

COMPRESSIONS: Final = ("float32", "float16")
"""Number formats of the precision-weighted means in compressed messages."""


def with_num_rounds(name: str, settings: Mapping[str, Any], num_rounds: int) -> dict[str, Any]:
    """Returns settings for `make_strategy`, with the number of rounds if it matters, at the clients as at the server.

    Example:
        >>> with_num_rounds("fisher", {"distillation_rounds": 1}, 5)
        {'num_rounds': 5, 'distillation_rounds': 1}
        >>> with_num_rounds("fisher", {"curvature": 1.0}, 5)
        {'curvature': 1.0}
    """
    matters = name == BAYESIAN or "distillation_rounds" in settings
    return {"num_rounds": num_rounds, **settings} if matters else dict(settings)


def make_strategy(
    name: str,
    compress: str = "",
    distillation_rounds: int | None = None,
    num_rounds: int | None = None,
    robust: str = "",
    most_images: int = 0,
    **settings: Any,
) -> Strategy:
    """Builds a strategy.

    Args:
        name: one of `STRATEGIES`.
        compress: '' sends tensors unchanged; 'float32' and 'float16' send packets (`Compressed`), whose
            precision-weighted means take four or two bytes per weight. For `bayesian` this implies `coded_precision`.
        distillation_rounds: number of rounds, after all others, that distill the strategy's posteriors into one network
            (`distilled.py`); 0: none. None: for `bayesian` with a known number of rounds, two if there are groups that
            have parted; otherwise none.
        num_rounds: number of rounds before these, for `distillation_rounds` and for `bayesian`, whose first rounds
            learn the prior if it is known.
        robust: 'screened' leaves out sites whose steps are outliers (`federated/screening.py`), for which the server
            keeps a round's messages; '' counts every accepted message.
        most_images: number of training images above which a site's message is refused (`federated/image_limit.py`), for
            strategies that weigh sites by it; 0 takes every site at its word.
        settings: constructor arguments of its class; with `distillation_rounds`, also those of the phase
            (`distillation_settings.SETTINGS`).

    Raises:
        ValueError: an unknown name, compression or setting; the message lists the choices.

    Example:
        >>> type(make_strategy("fedprox", proximal=0.1)).__name__
        'FedProx'
    """
    if compress not in ("", *COMPRESSIONS):
        raise ValueError(f"compress expects one of {', '.join(COMPRESSIONS)} or nothing, got {compress!r}.")
    if not isinstance(most_images, int) or most_images < 0:
        raise ValueError(f"most_images expects a number of images, or 0 for no bound, got {most_images!r}.")
    if robust not in ("", SCREENED):
        raise ValueError(f"robust expects {SCREENED!r} or nothing, got {robust!r}.")
    if name == BAYESIAN:
        own = {} if num_rounds is None else {"num_rounds": num_rounds}
        settings = {**own, **({"coded_precision": True} if compress else {}), **settings}
    if distillation_rounds is None and (name != BAYESIAN or num_rounds is None or not settings.get("memory", True)):
        distillation_rounds = 0
    distills = distillation_rounds != 0
    phase = {each: settings.pop(each) for each in PHASE_SETTINGS if each in settings} if distills else {}
    strategy: Strategy = build_by_name("strategy", STRATEGIES, name, **settings)
    if distills:
        strategy = distilled(strategy, num_rounds, distillation_rounds, **phase)
    strategy = Compressed(strategy, half_mean=compress == "float16") if compress else strategy
    strategy.screening = Screening() if robust else None
    if most_images and strategy.image_precision is None:
        raise ValueError(
            f"most_images expects a strategy that weighs a site by its number of images, got {name!r} with these "
            "settings; use robust=screened, or none."
        )
    strategy.most_images = most_images
    return strategy
