"""Runs a bundle in a chain of stock MONAI Deploy operators; called by `monai_deploy_cost.py` in another environment.

    python benchmarks/monai_deploy_chain.py DICOM_FOLDER BUNDLE OUTPUT CORES REPEATS

Prints {operator: median milliseconds} as the last line. The chain loads the study, selects the series, runs the
bundle's transforms and network, and writes one BINARY segmentation and one Basic Text SR: no heat maps, overlay or
report, and no measurements or boxes with coordinates. The stock inference operators fail on radiographs (no Pixel
Spacing, one output only), so that operator is ours.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application, Operator, OperatorSpec
from monai.deploy.operators import (
    DICOMDataLoaderOperator,
    DICOMSegmentationWriterOperator,
    DICOMSeriesSelectorOperator,
    DICOMTextSRWriterOperator,
)
from monai.deploy.operators.dicom_seg_writer_operator import SegmentDescription
from monai.deploy.operators.dicom_utils import ModelInfo
from pydicom.sr.codedict import codes

from mtmedformer_monai.deploy.bundle_model import BundleModel, load_model
from mtmedformer_monai.keys import IMAGE, PRED, RESULT

SECONDS: dict[str, float] = defaultdict(float)
SERIES = "study_selected_series_list"


def timed(operator: type[Any], name: str) -> type[Any]:
    """Returns an operator that adds the time of `compute` to `SECONDS`."""

    class Timed(operator):  # type: ignore[misc]
        def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
            """Computes and measures."""
            start = time.perf_counter()
            super().compute(op_input, op_output, context)
            SECONDS[name] += time.perf_counter() - start

    return Timed


class NetworkOperator(Operator):
    """Runs the bundle's transforms and network; emits a label map (1, H, W) and the findings as text."""

    def __init__(self, fragment: Any, *args: Any, model: BundleModel, **options: Any) -> None:
        self._model = model
        super().__init__(fragment, *args, **options)

    def setup(self, spec: OperatorSpec) -> None:
        """Declares inputs and outputs."""
        spec.input(SERIES)
        spec.output("seg_image")
        spec.output("text")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Processes the first selected image."""
        series = op_input.receive(SERIES)[0].selected_series[0].series
        path = series.get_sop_instances()[0].get_native_sop_instance().filename
        start = time.perf_counter()
        item = dict(self._model.preprocessing({IMAGE: str(path)}))
        image = torch.as_tensor(item[IMAGE]).as_subclass(torch.Tensor)
        before = time.perf_counter()
        with torch.no_grad():
            outputs = self._model.inferer(image[None], self._model.network)
        after = time.perf_counter()
        item[PRED] = {name: value[0] for name, value in outputs.items()}
        item = self._model.postprocessing(item)
        labels = np.ascontiguousarray(np.asarray(item[PRED]).T)[None]
        SECONDS["read and transforms"] += before - start
        SECONDS["network"] += after - before
        SECONDS["postprocess"] += time.perf_counter() - after
        op_output.emit(labels.astype(np.uint8), "seg_image")
        op_output.emit(json.dumps(item[RESULT], default=str), "text")


class Chain(Application):
    """The chain for one image."""

    def __init__(self, source: Path, output: Path, model: BundleModel) -> None:
        self._paths = source, output
        self._model = model
        super().__init__(argv=[sys.argv[0]])

    def compose(self) -> None:
        """Connects the operators."""
        logging.getLogger().setLevel(logging.ERROR)
        source, output = self._paths
        names = [name for task in self._model.tasks for name in task.structures]
        segments = [describe(name) for name in names]
        info = ModelInfo("MTMedFormer", "benchmark", "1", "1.2.3")
        load = timed(DICOMDataLoaderOperator, "load")(self, CountCondition(self, 1), input_folder=source, name="load")
        select = timed(DICOMSeriesSelectorOperator, "select")(self, name="select")
        network = NetworkOperator(self, model=self._model, name="network")
        seg = timed(DICOMSegmentationWriterOperator, "SEG")(
            self, segment_descriptions=segments, output_folder=output, omit_empty_frames=False, name="seg"
        )
        report = timed(DICOMTextSRWriterOperator, "SR")(self, output_folder=output, model_info=info, name="sr")
        self.add_flow(load, select, {("dicom_study_list", "dicom_study_list")})
        self.add_flow(select, network, {(SERIES, SERIES)})
        for writer, port in ((seg, "seg_image"), (report, "text")):
            self.add_flow(network, writer, {(port, port)})
            self.add_flow(select, writer, {(SERIES, SERIES)})


def describe(name: str) -> SegmentDescription:
    return SegmentDescription(
        segment_label=name,
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=codes.SCT.Lung,
        algorithm_name="benchmark",
        algorithm_family=codes.DCM.ArtificialIntelligence,
        algorithm_version="1",
    )


def main() -> None:
    source, bundle, output, cores, repeats = sys.argv[1:]
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    torch.set_num_threads(int(cores))
    model = load_model(Path(bundle), "cpu")
    runs: list[dict[str, float]] = []
    for _ in range(int(repeats) + 1):
        SECONDS.clear()
        Chain(Path(source), Path(output), model).run()
        runs.append(dict(SECONDS))
    print(json.dumps({name: 1e3 * statistics.median(run[name] for run in runs[1:]) for name in runs[0]}), flush=True)


if __name__ == "__main__":
    main()
