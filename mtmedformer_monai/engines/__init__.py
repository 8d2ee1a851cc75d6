"""What MONAI's stock trainer and evaluator need to train several tasks: batches, metrics, checkpoints, pictures.

Names are loaded on first use: MONAI and Ignite take seconds to import.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "ActivateTasksd": "postprocessing",
    "DescribeTasksd": "postprocessing",
    "LabelMapd": "postprocessing",
    "SavePredictions": "save_predictions",
    "AutocastInferer": "autocast_inferer",
    "ClipGradients": "clip_gradients",
    "EarlyStop": "early_stop",
    "ExamplePictures": "example_pictures",
    "History": "history",
    "MLflowTracker": "mlflow_tracker",
    "MultiTaskMetric": "multi_task_metric",
    "PrepareMultiTaskBatch": "prepare_batch",
    "PrepareStudyBatch": "prepare_study_batch",
    "Progress": "progress",
    "ResumeTraining": "resume",
    "RunSummary": "run_summary",
    "SaveCheckpoints": "save_checkpoints",
    "SaveStudies": "save_studies",
    "SeedEachEpoch": "seeding",
    "TaskLosses": "losses_by_task",
    "TrainingCurves": "curves",
    "TrainingState": "training_state",
    "ValidationLosses": "losses_by_task",
    "join_process_group": "process_group",
    "leave_process_group": "process_group",
    "load_checkpoint": "checkpoint_file",
    "make_warmup_cosine": "schedule",
    "save_checkpoint": "checkpoint_file",
    "warmup_cosine": "schedule",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Imports the module that holds `name` (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
