from .base import Task as Task
from .base import TaskMetric as TaskMetric
from .box_decoding import decode_boxes as decode_boxes
from .classification import ClassificationTask as ClassificationTask
from .detection import DetectionTask as DetectionTask
from .reconstruction import ReconstructionTask as ReconstructionTask
from .segmentation import SegmentationTask as SegmentationTask
from .study_task import StudyTask as StudyTask
