"""Names that travel: batch keys, metadata keys and the parts of a datalist item.

Axis legend of the whole package: B batch, C channels or structures, H rows, W columns, N boxes or tokens,
K classes, D width.
"""

from __future__ import annotations

IMAGE = "image"
"""Radiograph: float32 (1, H, W) in [0, 1]; row 0 superior, column 0 the image's left, brighter is denser."""

PRED = "pred"
"""What the network gave for one image: a dict, a task a key."""

PROBS = "probs"
"""{task: activated output of one image}, in the source image's pixels."""

RESULT = "result"
"""Plain Python findings of one image (classes, boxes, scores), in the source image's pixels."""

LOSS = "loss"
"""Key of the scalar that is minimised."""

NOTICE = "Research use only; not for diagnosis or treatment."
"""Stands in every result and on every picture of one."""

# A datalist item: `image`, and any of these.
MASKS = "masks"
"""{structure: path of a mask of the image's size}. A structure left out is not annotated."""

BOXES = "boxes"
"""{class: [[x1, y1, x2, y2], ...]} in source pixels, half open. An empty list says none is there; a class
left out is not annotated."""

LABELS = "labels"
"""{task: class name, or a list of names for a multi-label task}. A task left out is not annotated."""

LABEL_MAP = "label"
"""Path of a label map, as annotation tools write one per image, in place of `masks`: 0 is background, the structures
of all segmentation tasks are numbered from 1."""

STUDY_ID = "study_id"
"""What images of one examination share; an image without one is a study of its own."""

UNCERTAINTY = "uncertainty"
"""{task: {figure: tensor}} of one image, in the network's pixels; and its place in a task's findings."""

LATERALITY = "laterality"
VIEW = "view"
"""In an item, what the datalist says of the image, for files whose header is silent: 'L' or 'R'; 'CC', 'MLO', ..."""

STUDY_VIEWS = ("R_CC", "R_MLO", "L_CC", "L_MLO")
"""A screening mammography: laterality and view of its images, in the order of every tensor over views."""

PATIENT_ID = "patient_id"
SITE = "site"
ANNOTATIONS = (MASKS, BOXES, LABELS)
FACTS = (PATIENT_ID, STUDY_ID, SITE, LATERALITY, VIEW)
"""Text that a datalist item may hold."""


class MetaKey:
    """Metadata of a loaded radiograph: nothing that names a person."""

    FILENAME = "filename_or_obj"
    SOURCE_SHAPE = "source_shape"
    """int (2,): rows and columns of the source image. Not `spatial_shape`, which MONAI's readers and MONAI Label's
    `Restored` take as (columns, rows)."""

    TO_SOURCE = "to_source"
    """float64 (3, 3): homogeneous (x, y, 1) of the image at hand to (x, y, 1) of the source, in pixel-edge
    coordinates: pixel i covers [i, i + 1), a whole image is the box (0, 0, W, H)."""

    SPACING_MM = "spacing_mm"
    """float64 (2,): source row and column spacing in mm, NaN where unknown."""

    LATERALITY = "laterality"
    """'L', 'R', 'B' or '' (unknown or unpaired)."""

    PATIENT_ORIENTATION = "patient_orientation"
    """Directions toward which the source's rows and columns run, such as 'P\\FL', or '' (unknown)."""

    VIEW = "view"
    """'PA', 'AP', 'LL', 'CC', 'MLO', ... or '' (unknown)."""

    MODALITY = "modality"
    """'CR', 'DX', 'MG', 'RG', ... or '' (not DICOM)."""

    SOP_INSTANCE_UID = "sop_instance_uid"
    SERIES_INSTANCE_UID = "series_instance_uid"
    STUDY_INSTANCE_UID = "study_instance_uid"
    """DICOM's identifiers, or '' (not DICOM): results are traced by them."""

    FLAGS = "flags"
    """What the rules of admission flagged, joined by '; ', or ''."""


class BoxRow:
    """Columns of the rows that boxes are held in; boxes are x1, y1, x2, y2 in pixels of the image at hand.

    Rows of a detection output are box, point and one logit (or score) per class: (A, 7 + K). Rows of a target are box
    and class index: (N, 5).
    """

    BOX = slice(0, 4)
    POINT = slice(4, 7)
    """x, y and stride of the point that predicts the box."""

    LOGITS = slice(7, None)
    """From an output's column on: class logits, or scores where they are activated."""

    CLASS = 4
    """Of a target: class index; -1 is no box."""

    NUM_TARGET = 5
    """Columns of a target."""
