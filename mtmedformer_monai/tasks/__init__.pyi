from .base import Task as Task
from .base import TaskMetric as TaskMetric
from .classification import ClassificationTask as ClassificationTask
from .detection import DetectionTask as DetectionTask
from .reconstruction import ReconstructionTask as ReconstructionTask
from .segmentation import SegmentationTask as SegmentationTask
from .study_task import StudyTask as StudyTask
