"""AUC, F1, accuracy, calibration and, for ordered classes, kappa and mean absolute error."""

# B batch, K classes

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .calibration import expected_calibration_error
from .gather import gather_rows

KINDS = ("binary", "multiclass", "multilabel", "ordinal")
Floats = NDArray[np.float64]


class ClassificationMetric:
    """Metrics of one classification task; images without a label are ignored.

    - `auc`: area under the ROC curve. Binary: of the second class. Multiclass and ordinal: mean of the one-vs-rest
      areas. Multi-label: mean over labels. A class that is present in all or in no images has no defined area and is
      excluded from the mean.
    - `f1`: binary: of the second class. Multiclass and ordinal: macro mean. Multi-label: macro mean over labels.
    - `accuracy`: fraction of images (multi-label: of annotated labels) that are correct.
    - `ece`: expected calibration error with 15 bins (Guo et al., ICML 2017, eq. 3) of the confidence in the predicted
      class; each annotated label of a multi-label task counts as a binary prediction.
    - `cases`: number of images (multi-label: annotated labels) of the rarest class that occurs, which limits the
      precision of `auc`.
    - ordinal only: `kappa` (Cohen's, quadratic weights) and `mae` (mean absolute error, in classes).

    The predicted class is the most probable one; a label of a multi-label task is predicted if its probability is at
    least 0.5.

    Args:
        classes: names of the classes or labels.
        kind: 'binary', 'multiclass', 'multilabel' or 'ordinal'.
    """

    def __init__(self, classes: Sequence[str], kind: str) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind expects one of {', '.join(KINDS)}, got {kind!r}.")
        self._kind = kind
        self._num_classes = len(classes)
        self._rows: list[Tensor] = []

    def reset(self) -> None:
        """Resets the accumulated state."""
        self._rows = []

    def update(self, probs: Tensor, target: Tensor) -> None:
        """Adds one batch.

        Args:
            probs: float (B, K) in [0, 1]; rows sum to 1 except for multi-label tasks.
            target: float (B,) class index, or (B, K) of 0 and 1 for multi-label tasks; NaN where not annotated.
        """
        batch, classes = len(probs), self._num_classes
        expected = (batch, classes) if self._kind == "multilabel" else (batch,)
        if tuple(probs.shape) != (batch, classes) or tuple(target.shape) != expected:
            raise ValueError(
                f"a {self._kind} task expects probs {(batch, classes)} and target {expected}, got {tuple(probs.shape)} "
                f"and {tuple(target.shape)}; check the task's `classes` and `kind`."
            )
        rows = torch.cat([probs.detach().reshape(len(probs), -1), target.reshape(len(probs), -1)], dim=1)
        self._rows.append(rows.double().cpu())

    def compute(self) -> dict[str, float]:
        """Returns the metrics; NaN if no image is annotated or a metric is undefined."""
        width = self._num_classes + (self._num_classes if self._kind == "multilabel" else 1)
        rows = gather_rows(self._rows, width).numpy()
        probs, target = rows[:, : self._num_classes], rows[:, self._num_classes :]
        if self._kind == "multilabel":
            return _multilabel_metrics(probs, target)
        known = ~np.isnan(target[:, 0])
        return _class_metrics(probs[known], target[known, 0].astype(np.int64), self._kind)


def _class_metrics(probs: Floats, target: NDArray[np.int64], kind: str) -> dict[str, float]:
    """Returns the metrics of mutually exclusive classes; probs: (B, K), target: (B,) class index."""
    names = ["auc", "f1", "accuracy", "ece", *(["kappa", "mae"] if kind == "ordinal" else [])]
    if len(target) == 0:
        return dict.fromkeys(names, float("nan")) | {"cases": 0.0}
    chosen = probs.argmax(axis=1)
    classes = [1] if kind == "binary" else range(probs.shape[1])
    metrics = {
        "auc": _nanmean([_auc(target == k, probs[:, k]) for k in classes]),
        "f1": _nanmean([_f1(target == k, chosen == k) for k in classes]),
        "accuracy": float((chosen == target).mean()),
        "ece": expected_calibration_error(probs.max(axis=1), chosen == target),
        "cases": float(np.unique(target, return_counts=True)[1].min()),
    }
    if kind == "ordinal":
        metrics |= {"kappa": _kappa(target, chosen, probs.shape[1]), "mae": float(np.abs(chosen - target).mean())}
    return metrics


def _multilabel_metrics(probs: Floats, target: Floats) -> dict[str, float]:
    """Returns the metrics of independent labels; probs: (B, K), target: (B, K) of 0, 1 or NaN."""
    known = ~np.isnan(target)
    true, chosen = target > 0.5, probs >= 0.5
    columns = [(true[k, j], chosen[k, j], probs[k, j]) for j, k in enumerate(known.T)]
    right = (true == chosen)[known]
    return {
        "auc": _nanmean([_auc(t, p) for t, _, p in columns]),
        "f1": _nanmean([_f1(t, c) for t, c, _ in columns]),
        "accuracy": float(right.mean()) if right.size else float("nan"),
        "ece": expected_calibration_error(np.maximum(probs, 1 - probs)[known], right),
        "cases": float(min((min(t.sum(), (~t).sum()) for t, _, _ in columns if t.any() and not t.all()), default=0)),
    }


# scikit-learn is imported lazily: importing it takes a second, and inference does not need it.


def _auc(positive: NDArray[np.bool_], score: Floats) -> float:
    from sklearn.metrics import roc_auc_score

    if positive.all() or not positive.any():
        return float("nan")
    return float(roc_auc_score(positive, score))


def _f1(positive: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> float:
    """Returns F1, or NaN if the class neither occurs nor is predicted (0 / 0)."""
    from sklearn.metrics import f1_score

    return float(f1_score(positive, chosen)) if (positive | chosen).any() else float("nan")


def _kappa(target: NDArray[np.int64], chosen: NDArray[np.int64], num_classes: int) -> float:
    from sklearn.metrics import cohen_kappa_score

    if len(np.union1d(target, chosen)) < 2:  # no disagreement is possible: 0 / 0
        return float("nan")
    return float(cohen_kappa_score(target, chosen, labels=range(num_classes), weights="quadratic"))


def _nanmean(values: Sequence[float]) -> float:
    known = [v for v in values if not np.isnan(v)]
    return float(np.mean(known)) if known else float("nan")
