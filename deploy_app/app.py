"""A MONAI Deploy application that runs a bundle on a folder of DICOM studies, and writes its DICOM SEG and SR.

    python deploy_app/app.py --input DICOM_FOLDER --output RESULTS --model bundles/chest_xray_multitask

Stock operators load the studies and select series; the last operator is `mtmedformer infer`: it applies the bundle's
admission rules, calibration and guard, and writes the files that docs/inference.md describes. A packaged application
takes the paths from HOLOSCAN_INPUT_PATH, HOLOSCAN_OUTPUT_PATH and HOLOSCAN_MODEL_PATH. For research use only.
"""

from __future__ import annotations

import logging
from pathlib import Path

from infer_operator import InferRadiographsOperator
from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application
from monai.deploy.operators import DICOMDataLoaderOperator, DICOMSeriesSelectorOperator

SELECTION_RULES = '{"selections": [{"name": "radiographs", "conditions": {"Modality": "(?i)^(CR|DX|MG|RG)$"}}]}'
"""Series to process; the bundle's admission rules then decide on each image."""


class RadiographApp(Application):
    """Loads studies, selects radiographs, infers, and writes results."""

    def compose(self) -> None:
        """Connects the operators."""
        context = Application.init_app_context(self.argv)
        logging.getLogger().setLevel(logging.WARNING)  # the operators log Series Description, which may name a patient
        once = CountCondition(self, 1)  # without it, the loader would start again and again
        load = DICOMDataLoaderOperator(self, once, input_folder=Path(context.input_path), name="load")
        select = DICOMSeriesSelectorOperator(self, rules=SELECTION_RULES, all_matched=True, name="select")
        infer = InferRadiographsOperator(
            self, bundle=Path(context.model_path), output_folder=Path(context.output_path), name="infer"
        )
        self.add_flow(load, select, {("dicom_study_list", "dicom_study_list")})
        self.add_flow(select, infer, {("study_selected_series_list", "study_selected_series_list")})


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    RadiographApp().run()
