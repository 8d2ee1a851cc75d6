"""Decodes dense detections to a short list of boxes."""

# A anchor points, K classes, N boxes

from __future__ import annotations

from monai.data.box_utils import batched_nms
from torch import Tensor

from mtmedformer_monai.keys import BoxRow
from mtmedformer_monai.metrics.detection import Boxes

MIN_SCORE = 0.05
"""Minimum score of boxes in metrics and reports; boxes with lower scores are noise."""

_MAX_CANDIDATES = 1000
"""Maximum number of candidates of non-maximum suppression, which limits its time."""


def decode_boxes(
    output: Tensor, score_threshold: float | Tensor = MIN_SCORE, nms_iou: float = 0.5, max_boxes: int = 100
) -> Boxes:
    """Applies a score threshold, then non-maximum suppression per class.

    Args:
        output: float (A, 7 + K), activated output of one image: box, anchor point, class probabilities.
        score_threshold: minimum score, or (K,), one of each class.
        nms_iou: intersection over union with a higher-scoring box of the same class above which a box is removed.
        max_boxes: maximum number of boxes.
    """
    output = output.detach().float()
    scores = output[:, BoxRow.LOGITS]
    anchors, classes = (scores >= score_threshold).nonzero(as_tuple=True)
    scores = scores[anchors, classes]
    best = scores.argsort(descending=True, stable=True)[:_MAX_CANDIDATES]
    boxes, scores, classes = output[anchors[best], BoxRow.BOX], scores[best], classes[best]
    lowest = boxes.min() if len(boxes) else 0.0  # batched_nms separates classes by the largest coordinate alone
    keep = batched_nms(boxes - lowest, scores, classes, nms_iou, max_boxes).long()
    return Boxes(boxes[keep], scores[keep], classes[keep])
