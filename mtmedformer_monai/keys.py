"""Shared names: batch keys, metadata keys and the fields of a datalist item.

Axis legend of the whole package: B batch, C channels or structures, H rows, W columns, N boxes or tokens,
K classes, D width.
"""

from __future__ import annotations

IMAGE = "image"
"""Radiograph: float32 (1, H, W) in [0, 1]; row 0 superior, column 0 the image's left, brighter is denser."""

PRED = "pred"
"""Network output for one image: a dict keyed by task name."""

PROBS = "probs"
"""{task: activated output of one image}, in the source image's pixels."""

RESULT = "result"
"""Findings in one image as plain Python values (classes, boxes, scores), in the source image's pixels."""

LOSS = "loss"
"""Key of the scalar loss that is minimized."""

GUARD = "guard"
"""Distance of one image from the training images, as plain Python values, if the model has a guard."""

REFUSED = "refused"
"""Reason for which the findings of one image are withheld; absent or '' if they are not."""

NOTICE = "Research use only; not for diagnosis or treatment."
"""Printed in every result file and on every picture of a result."""

# Fields of a datalist item: `image`, and optionally any of the following.
MASKS = "masks"
"""{structure: path of a mask of the image's size}. A structure without an entry is not annotated."""

BOXES = "boxes"
"""{class: [[x1, y1, x2, y2], ...]} in source pixels, half open. An empty list means that no box of the class is
present; a class without an entry is not annotated."""

LABELS = "labels"
"""{task: class name, or a list of names for a multi-label task}. A task without an entry is not annotated."""

LABEL_MAP = "label"
"""Path of a label map, used instead of `masks` and written by annotation tools: 0 is background, and the structures of
all segmentation tasks are numbered from 1."""

STUDY_ID = "study_id"
"""Identifier shared by the images of one examination; an image without one forms its own study."""

UNCERTAINTY = "uncertainty"
"""{task: {measure: tensor}} of one image, in network pixels; also the key of uncertainty in a task's findings."""

LATERALITY = "laterality"
VIEW = "view"
"""Laterality ('L' or 'R') and view ('CC', 'MLO', ...) from the datalist, for files whose header lacks them."""

STUDY_VIEWS = ("R_CC", "R_MLO", "L_CC", "L_MLO")
"""Laterality and view of the images of a screening mammogram, in the order used by every tensor over views."""

PATIENT_ID = "patient_id"
SITE = "site"
ANNOTATIONS = (MASKS, BOXES, LABELS)
FACTS = (PATIENT_ID, STUDY_ID, SITE, LATERALITY, VIEW)
"""Text fields that a datalist item may contain."""


class MetaKey:
    """Metadata keys of a loaded radiograph; none of them identifies a patient."""

    FILENAME = "filename_or_obj"
    SOURCE_SHAPE = "source_shape"
    """int (2,): rows and columns of the source image. Not `spatial_shape`, which MONAI's readers and MONAI Label's
    `Restored` take as (columns, rows)."""

    TO_SOURCE = "to_source"
    """float64 (3, 3): maps homogeneous (x, y, 1) of the current image to (x, y, 1) of the source image, in pixel-edge
    coordinates: pixel i covers [i, i + 1), and the whole image is the box (0, 0, W, H)."""

    SPACING_MM = "spacing_mm"
    """float64 (2,): source row and column spacing in mm, NaN where unknown."""

    LATERALITY = "laterality"
    """'L', 'R', 'B' or '' (unknown or unpaired)."""

    PATIENT_ORIENTATION = "patient_orientation"
    """Directions in which the source's rows and columns run, such as 'P\\FL', or '' (unknown)."""

    VIEW = "view"
    """'PA', 'AP', 'LL', 'CC', 'MLO', ... or '' (unknown)."""

    MODALITY = "modality"
    """'CR', 'DX', 'MG', 'RG', ... or '' (not DICOM)."""

    SOP_INSTANCE_UID = "sop_instance_uid"
    SERIES_INSTANCE_UID = "series_instance_uid"
    STUDY_INSTANCE_UID = "study_instance_uid"
    """DICOM identifiers that make results traceable, or '' (not DICOM)."""

    FLAGS = "flags"
    """Warnings of the input checks, joined by '; ', or ''."""


class BoxRow:
    """Column layout of box tensors; boxes are x1, y1, x2, y2 in pixels of the current image.

    A row of a detection output holds a box, its anchor point and one logit (or score) per class: (A, 7 + K). A row of a
    target holds a box and its class index: (N, 5).
    """

    BOX = slice(0, 4)
    POINT = slice(4, 7)
    """x, y and stride of the point that predicts the box."""

    LOGITS = slice(7, None)
    """Class logits of an output, or class scores after activation."""

    CLASS = 4
    """Class index of a target; -1 marks an unused row."""

    NUM_TARGET = 5
    """Number of columns of a target."""
