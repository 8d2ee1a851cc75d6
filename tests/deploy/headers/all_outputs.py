"""The DICOM objects of all kinds for one image."""

from io import BytesIO

import numpy as np
import pydicom

from mtmedformer_monai.deploy.headers.source_header import read_source_header
from mtmedformer_monai.deploy.presentation.presentation_state import presentation_state
from mtmedformer_monai.deploy.results import ImageMaps, StudyResult
from mtmedformer_monai.deploy.segmentation.segmentation_object import make_segmentation, plan_segments
from mtmedformer_monai.deploy.sr.mammography_cad_report import mammography_cad_report
from mtmedformer_monai.deploy.sr.structured_report import image_report
from tests.deploy.sources import COLUMNS, FULL, MODEL, ROWS, result_of


def outputs_of(path):
    """The objects of all kinds for one mammogram, as an archive reads them: {kind: dataset}."""
    header = read_source_header(path)
    result, masks = result_of(header, **FULL), {"lung": np.ones((1, ROWS, COLUMNS), bool)}
    segments = plan_segments(ImageMaps(np.zeros((ROWS, COLUMNS)), masks), result)["seg"]
    made = {
        "SEG": make_segmentation("seg", segments, header, MODEL),
        "SR": image_report(result, header, MODEL),
        "GSPS": presentation_state(result, masks, header, MODEL),
        "CAD SR": mammography_cad_report(StudyResult(None, "study", (result,)), [header], MODEL),
    }
    return {kind: read_back(each) for kind, each in made.items()}


def read_back(made):
    file = BytesIO()
    made.save_as(file, enforce_file_format=True)
    file.seek(0)
    return pydicom.dcmread(file)
