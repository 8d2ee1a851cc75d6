"""What a site of a federation chooses for itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClientOptions:
    """What a site chooses for itself.

    Attributes:
        optimizer: 'keep' its moments between rounds, or 'reset' them.
        start_weights: file of weights of its own to join with; empty starts from the server's.
        personal: infer with personal weights: what the strategy keeps at the site, and its share of the precision.
        own_share: how much more its own factor counts in personal weights; 0 is as in the global posterior.
        seed: of the training, where the bundle sets none for each epoch.
        loss_batches: that initial losses are measured on.
    """

    optimizer: str = "keep"
    start_weights: str = ""
    personal: bool = False
    own_share: float = 0.0
    seed: int = 0
    loss_batches: int = 16

    def __post_init__(self) -> None:
        """Checks the choice.

        Raises:
            ValueError: another word for the optimizer.
        """
        if self.optimizer not in {"keep", "reset"}:
            raise ValueError(f"optimizer expects 'keep' or 'reset', got {self.optimizer!r}.")
