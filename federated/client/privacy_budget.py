"""A site's own limit of its privacy loss, over all messages of all federations in which it takes part.

Gaussian mechanisms compose: messages with noise z_1, z_2, ... are together no worse than one mechanism with
`mu^2 = sum (2 / z_i)^2` (Gaussian differential privacy: Dong, Roth and Su, JRSS B 2022, corollary 2). The account is a
file of the site, which neither a job nor a server can reset.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from mtmedformer_monai.io.atomic_files import write_atomically

from .privacy_loss import epsilon_of, mu_of

SPENT = "mu_squared"
"""Key of the account: the sum of the squared mu of all messages."""
MESSAGES = "messages"
"""Key of the account: their number."""

_logger = logging.getLogger("mtmedformer")


@dataclass(frozen=True)
class PrivacyBudget:
    """The limit, and the account of what is spent.

    Attributes:
        file: absolute path of the account, a JSON file that is created with the first message.
        epsilon: largest privacy loss of all messages together.
        delta: probability with which it may be exceeded.
    """

    file: str
    epsilon: float
    delta: float = 1e-5

    def __post_init__(self) -> None:
        """Validates the settings.

        Raises:
            ValueError: numbers out of range, or a relative path.
        """
        if not Path(self.file).is_absolute() or not self.epsilon > 0 or not 0 < self.delta < 1:
            raise ValueError(
                "privacy_budget expects an absolute path of a file, because each job has a folder of its own, an "
                f"epsilon above 0 and a delta in (0, 1), got {self.file!r}, {self.epsilon} and {self.delta}."
            )

    def spend(self, noise: float) -> bool:
        """Enters a message into the account, if the budget allows it, before the message leaves the site.

        A message that is entered and then lost counts; jobs that run at once enter theirs one after another.

        Args:
            noise: standard deviation of the noise, divided by the clipping norm.

        Returns:
            Whether the message may be sent.

        Raises:
            ValueError: the file holds no account.
        """
        path = Path(self.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            spent, messages = self._read(path)
            total = spent + mu_of(noise, 1) ** 2
            loss = epsilon_of(math.sqrt(total), self.delta)
            if loss > self.epsilon:
                _logger.warning(
                    "The privacy budget in %s allows an epsilon of %g; this message would make it %.3g, and is "
                    "withheld. Use more noise from the start, or allow more.",
                    path, self.epsilon, loss,
                )  # fmt: skip
                return False
            account = json.dumps({SPENT: total, MESSAGES: messages + 1}).encode()
            write_atomically(path, lambda file: file.write(account))
        _logger.info("Messages so far, in all federations: epsilon %.3g of %g.", loss, self.epsilon)
        return True

    @staticmethod
    def _read(path: Path) -> tuple[float, int]:
        if not path.exists():
            return 0.0, 0
        try:
            found = json.loads(path.read_text())
            spent, messages = float(found[SPENT]), int(found[MESSAGES])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} expects the account of a privacy budget; restore it.") from error
        if not spent >= 0.0:
            raise ValueError(f"{path} expects a sum of 0 or more, got {spent}; restore it.")
        return spent, messages
