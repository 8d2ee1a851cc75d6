"""Processes one study: predicts its images, and calls the writers of its files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from mtmedformer_monai.deploy.headers.quiet import quiet_libraries
from mtmedformer_monai.deploy.headers.source_header import read_source_header
from mtmedformer_monai.deploy.headers.uids import InvalidUIDError
from mtmedformer_monai.deploy.privacy.anonymous_inputs import copy_input
from mtmedformer_monai.deploy.privacy.deidentify import UNVERIFIED, Deidentifier
from mtmedformer_monai.deploy.report.write_html import write_layers_of
from mtmedformer_monai.deploy.segmentation.segmentation_object import missing_reference, write_maps, write_masks
from mtmedformer_monai.deploy.trust.inspect_bundle import check_trusted
from mtmedformer_monai.transforms.errors import RadiographError, RefusedImageError

from .bundle_model import CONFIG, STUDY_CONFIG, BundleModel, describe_provenance, load_model
from .inputs import InputFile, StudyInput, describe_error
from .output_kinds import DEFAULT_OUTPUTS, OUTPUTS
from .output_paths import inside
from .overlay_file import write_overlay
from .predict import Prediction, predict_image
from .report_writers import write_image_report, write_mammography_cad, write_presentation_state, write_study_report
from .results import ImageResult, ImageSource, ImageWriter, Provenance, Refusal, StudyResult, StudyWriter
from .study_fusion import load_study_fusion

logger = logging.getLogger(__name__)
Writer = TypeVar("Writer")
AnyResult = TypeVar("AnyResult", ImageResult, StudyResult)

IMAGE_WRITERS: Mapping[str, ImageWriter] = {
    "seg": write_masks,
    "maps": write_maps,
    "overlay": write_overlay,
    "sr": write_image_report,
    "report": write_layers_of,
    "gsps": write_presentation_state,
}
"""{kind of output: writer}, called for each image, in this order; every writer sees the files of those before it in
`ImageResult.files`."""

STUDY_WRITERS: Mapping[str, StudyWriter] = {"sr": write_study_report, "cad_sr": write_mammography_cad}
"""Likewise, called for each study, after its images."""


class OutputError(OSError):
    """A result cannot be written, such as to a full disk; ends the run."""


@dataclass(frozen=True)
class RunnerOptions:
    """What a `StudyRunner` is built from; can be sent to another process.

    Attributes:
        bundle: the bundle's folder.
        output: output folder, in which each study has a folder.
        device: 'cpu', 'cuda', 'cuda:N' or 'mps'; '' for the bundle's choice.
        weights: file of the weights; the bundle's by default.
        configs: further configuration files, which override the bundle's `inference.json`.
        prepare_header: changes the header of a source before any writer sees it, such as to de-identify it.
        deidentify: pseudonyms of a run that is de-identified: DICOM files are replaced by copies without identifiers,
            from which everything is computed; None leaves them.
        guard: what to do with images unlike the training images: 'flag', 'refuse' or 'off'; '' for the bundle's choice.
        explain: whether to map the evidence for each predicted class.
        outputs: kinds of files to write, of `output_kinds.OUTPUTS`, beside `results.json` and `results.csv`.
        trust: whether configurations may run code from elsewhere; see `inspect_bundle`.
        runtime: 'torch' or 'onnx'.
    """

    bundle: Path
    output: Path
    device: str = ""
    weights: Path | None = None
    configs: tuple[Path, ...] = ()
    prepare_header: Callable[[Any], Any] | None = None
    deidentify: Deidentifier | None = None
    guard: str = ""
    explain: bool = False
    outputs: tuple[str, ...] = DEFAULT_OUTPUTS
    trust: bool = False
    runtime: str = "torch"


@dataclass(frozen=True)
class StudyOutcome:
    """The result of a study, None if no image could be processed; its refused files; and the provenance."""

    result: StudyResult | None
    refused: tuple[Refusal, ...]
    provenance: Provenance


class StudyRunner:
    """Predicts the images of studies and writes their files.

    Memory is bounded by one image and the network inputs of one study.

    Args:
        options: bundle, output folder and device.
        image_writers: writers of files about an image; by default, those of the options' outputs.
        study_writers: writers of files about a study, likewise.
        model: model of the bundle if it is loaded already.

    Raises:
        FileNotFoundError: the bundle or its weights do not exist.
        UntrustedBundleError: a configuration would run code from elsewhere.
        ValueError: the weights do not fit the bundle, or the device is not available.
    """

    def __init__(
        self,
        options: RunnerOptions,
        image_writers: Sequence[ImageWriter] | None = None,
        study_writers: Sequence[StudyWriter] | None = None,
        model: BundleModel | None = None,
    ) -> None:
        self._options = options
        self._image_writers = chosen(IMAGE_WRITERS, options.outputs) if image_writers is None else image_writers
        self._study_writers = chosen(STUDY_WRITERS, options.outputs) if study_writers is None else study_writers
        if options.explain and options.runtime != "torch":
            raise ValueError(f"--explain needs gradients and --runtime torch, got {options.runtime}.")
        provenance = describe_provenance(options.bundle, options.weights, more=options.configs)
        if not options.trust:
            check_trusted(options.bundle, [options.bundle / CONFIG, options.bundle / STUDY_CONFIG, *options.configs])
        self._model = model or load_model(
            options.bundle, options.device, options.weights, options.configs, options.guard, options.runtime
        )
        self._fusion = load_study_fusion(options.bundle, options.device)
        self.provenance = replace(provenance, device=str(self._model.device), runtime=options.runtime)

    def process(self, study: StudyInput) -> StudyOutcome:
        """Processes a study; a file that fails is refused, and the others are processed.

        Raises:
            OutputError: a file cannot be written.
        """
        folder = inside(self._options.output, study.folder)
        images: list[ImageResult] = []
        sources: list[ImageSource] = []
        inputs, refused, num_refused = [], [], 0
        for file in study.files:
            try:
                prediction, source = self._predict(file, folder)
            except OutputError:
                raise
            except Exception as error:  # one file must not end the run
                logger.debug("%s", type(error).__name__, exc_info=error)
                refused.append(Refusal(file.source, describe_error(error), name_rule(error)))
                num_refused += 1
                continue
            image, failed = self._write_image(prediction.result, source, folder)
            images.append(image)
            refused += failed
            sources.append(replace(source, maps=None))
            inputs.append(prediction.network_input)
        if not images:
            return StudyOutcome(None, tuple(refused), self.provenance)
        result = StudyResult(study.study_instance_uid or None, study.folder, tuple(images), num_refused=num_refused)
        result, unfused = self._fuse(result, inputs)
        result, failed = self._write_study(result, sources, folder)
        return StudyOutcome(result, (*refused, *unfused, *failed), self.provenance)

    def _predict(self, given: InputFile, folder: Path) -> tuple[Prediction, ImageSource]:
        """Predicts an image or, in a run that is de-identified, its copy; the copy of a refused image is deleted."""
        if self._options.deidentify is None:
            prediction = predict_image(self._model, given, self._options.explain)
            return prediction, self._make_source(given, prediction)
        try:
            file, is_verified = copy_input(given, folder, self._options.deidentify)
        except OSError as error:
            if error.filename == str(given.path):
                raise
            raise output_error(error) from error
        try:
            prediction = predict_image(self._model, file, self._options.explain)
            source = self._make_source(file, prediction)
        except Exception:
            if file.path != given.path:
                file.path.unlink(missing_ok=True)
            raise
        result = prediction.result
        if file.path != given.path:
            result = replace(result, files={"image": file.path.relative_to(folder).as_posix()})
        if not is_verified:
            result = replace(result, notes=(*result.notes, UNVERIFIED))
        return replace(prediction, result=result), source

    def _make_source(self, file: InputFile, prediction: Prediction) -> ImageSource:
        if prediction.result.modality is None and not file.sop_instance_uid:
            return ImageSource(file.path, None, prediction.maps)
        header = read_source_header(file.path)
        if self._options.prepare_header is not None:
            header = self._options.prepare_header(header)
        return ImageSource(file.path, header, prediction.maps)

    def _write_image(
        self, image: ImageResult, source: ImageSource, folder: Path
    ) -> tuple[ImageResult, tuple[Refusal, ...]]:
        header = source.header
        if header is None:
            image = replace(image, notes=(*image.notes, "No DICOM output, because the source is not DICOM."))
        else:
            image = replace(image, sop_class_uid=str(header.get("SOPClassUID") or "") or None)
            if missing := missing_reference(header):
                image = replace(image, notes=(*image.notes, f"No DICOM output, because the source has no {missing}."))
        return self._write_all(self._image_writers, image, source, folder, image.source)

    def _fuse(self, study: StudyResult, inputs: Sequence[Tensor]) -> tuple[StudyResult, tuple[Refusal, ...]]:
        """Classifies breasts and study; a failure is noted, because the images have results of their own."""
        if self._fusion is None:
            return study, ()
        try:
            return replace(study, classes=self._fusion(study.images, inputs)), ()
        except Exception as error:  # one study must not end the run
            logger.debug("%s", type(error).__name__, exc_info=error)
            note = f"The views could not be fused ({type(error).__name__}), so breasts and study have no classes."
            return replace(study, notes=(*study.notes, note)), (Refusal(study.folder, note, "fusion"),)

    def _write_study(
        self, study: StudyResult, sources: Sequence[ImageSource], folder: Path
    ) -> tuple[StudyResult, tuple[Refusal, ...]]:
        return self._write_all(self._study_writers, study, sources, folder, study.folder)

    def _write_all(
        self, writers: Sequence[Callable[..., Any]], result: AnyResult, source: Any, folder: Path, place: str
    ) -> tuple[AnyResult, tuple[Refusal, ...]]:
        """Calls writers; returns the result with their files and notes, and their failures under the place's name."""
        failures = []
        with quiet_libraries():  # their logs contain values of the header
            for write in writers:
                files, failure = _attempt(partial(write, result, source, self.provenance, folder))
                result = replace(result, files={**result.files, **files})
                if failure:
                    result = replace(result, notes=(*result.notes, failure))
                    failures.append(Refusal(place, failure, getattr(write, "__name__", "writer")))
        return result, tuple(failures)


def chosen(writers: Mapping[str, Writer], outputs: Collection[str]) -> tuple[Writer, ...]:
    """Returns the writers of kinds of outputs, in their own order.

    Raises:
        ValueError: an output is unknown.
    """
    unknown = [name for name in outputs if name not in OUTPUTS]
    if unknown:
        raise ValueError(f"outputs expects some of {', '.join(OUTPUTS)}, got {', '.join(unknown)}.")
    return tuple(writer for kind, writer in writers.items() if kind in outputs)


def _attempt(write: Callable[[], Mapping[str, str]]) -> tuple[Mapping[str, str], str]:
    """Calls a writer; returns its files, and a sentence about its failure or ''.

    Raises:
        OutputError: the file system refused a file.
    """
    try:
        return write(), ""
    except OSError as error:
        raise output_error(error) from error
    except InvalidUIDError as error:
        return {}, f"An output could not be written: {error}."
    except Exception as error:  # unusual headers can fail anywhere in the libraries, with header values in the message
        logger.debug("%s", type(error).__name__, exc_info=error)
        return {}, f"An output could not be written ({type(error).__name__})."


def output_error(error: OSError) -> OutputError:
    """Returns the error that ends a run whose results cannot be written."""
    return OutputError(
        f"a result cannot be written ({error.strerror or type(error).__name__}); free space, or choose another "
        "--output."
    )


def name_rule(error: BaseException) -> str:
    """Returns the admission rule that refused a file, or the class of the error.

    Example:
        >>> name_rule(RefusedImageError("a.dcm", "it is a cat", "exclude it", "animals"))
        'animals'
    """
    if isinstance(error, RefusedImageError):
        return error.rule
    if isinstance(error, (RadiographError, OSError, MemoryError)):
        return type(error).__name__
    return "unexpected"
