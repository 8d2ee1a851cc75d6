"""The operator that runs a bundle and writes its results."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from monai.deploy.core import Fragment, Operator, OperatorSpec

from mtmedformer_monai.deploy.run import InferOptions, infer
from mtmedformer_monai.deploy.study_runner import RunnerOptions

SERIES = "study_selected_series_list"


class InferRadiographsOperator(Operator):
    """Runs a bundle on the files of selected series.

    Named input: `study_selected_series_list`, from `DICOMSeriesSelectorOperator`. No output: all files, and the refused
    images with their reasons, are in the output folder.

    Args:
        fragment: the application.
        bundle: the bundle's folder.
        output_folder: folder of the results.
        device: 'cpu', 'cuda', ...; '' for a GPU if there is one.
    """

    def __init__(
        self, fragment: Fragment, *args: Any, bundle: Path, output_folder: Path, device: str = "", **options: Any
    ) -> None:
        self._runner = RunnerOptions(Path(bundle), Path(output_folder), device)
        super().__init__(fragment, *args, **options)

    def setup(self, spec: OperatorSpec) -> None:
        """Declares the input."""
        spec.input(SERIES)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Runs the bundle; logs how many images were processed and refused, without attributes of patients."""
        files = list_files(op_input.receive(SERIES))
        if not files:
            raise ValueError("no CR, DX, MG or RG image in the selected series; check --input and the selection rules.")
        result = infer(InferOptions(self._runner, tuple(files), command=("monai-deploy",)))
        images = sum(len(study.images) for study in result.studies)
        logging.getLogger("mtmedformer").warning("%d images processed, %d refused", images, len(result.refused))


def list_files(studies: Any) -> list[Path]:
    """Returns the file of each image of the selected series, once."""
    found = [
        Path(str(instance.get_native_sop_instance().filename))
        for study in studies or ()
        for selected in study.selected_series
        for instance in selected.series.get_sop_instances()
    ]
    return list(dict.fromkeys(found))
