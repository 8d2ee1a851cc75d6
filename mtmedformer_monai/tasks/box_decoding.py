"""Dense detections to a short list of boxes."""

# A anchor points, K classes, N boxes

from __future__ import annotations

from monai.data.box_utils import batched_nms
from torch import Tensor

from mtmedformer_monai.keys import BoxRow
from mtmedformer_monai.metrics.detection import Boxes

LEAST_SCORE = 0.05
"""Boxes with a lower score are noise: metrics and reports don't look at them."""

_MAX_CANDIDATES = 1000
"""Best candidates that enter non-maximum suppression, whose time grows with their number."""


def decode_boxes(
    output: Tensor, score_threshold: float = LEAST_SCORE, nms_iou: float = 0.5, max_boxes: int = 100
) -> Boxes:
    """Thresholds the scores, then suppresses what overlaps a better box of the same class.

    Args:
        output: float (A, 7 + K), one image's activated output: box, anchor point, class probabilities.
        score_threshold: candidates below it are dropped.
        nms_iou: a box that overlaps a better one of its class by more than this is dropped.
        max_boxes: at most so many boxes are kept.
    """
    output = output.detach().float()
    scores = output[:, BoxRow.LOGITS]
    anchors, classes = (scores >= score_threshold).nonzero(as_tuple=True)
    scores = scores[anchors, classes]
    best = scores.argsort(descending=True, stable=True)[:_MAX_CANDIDATES]
    boxes, scores, classes = output[anchors[best], BoxRow.BOX], scores[best], classes[best]
    keep = batched_nms(boxes, scores, classes, nms_iou, max_boxes).long()
    return Boxes(boxes[keep], scores[keep], classes[keep])
