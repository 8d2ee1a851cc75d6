"""The `mtmedformer export` command: exports a bundle's network with its weights to ONNX, or the bundle as a zip."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from .bundle_folders import bundle_help, default_bundle
from .help_format import HelpFormatter
from .trusted_bundles import add_trust_option, require_trust

logger = logging.getLogger("mtmedformer")


def add_export_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `export` to the command line."""
    description = (
        "export a bundle's network to ONNX, with one output per task and dynamic batch size, height and width; with "
        "--zip, pack the whole bundle for monai.bundle.load"
    )
    command = commands.add_parser("export", help=description, description=description, formatter_class=HelpFormatter)
    command.add_argument("output", metavar="OUTPUT", type=Path, help="ONNX file or, with --zip, zip file to write")
    default = default_bundle()
    command.add_argument(
        "--bundle", metavar="FOLDER", type=Path, default=default, required=default is None, help=bundle_help()
    )
    command.add_argument(
        "--weights", metavar="FILE", type=Path, help="state dict to load (default: the bundle's models/model.pt)"
    )
    command.add_argument("--zip", action="store_true", help="pack the bundle with its weights and documentation")
    add_trust_option(command)
    command.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    return _export_zip(options) if options.zip else _export_network(options)


def _export_zip(options: argparse.Namespace) -> int:
    from mtmedformer_monai.io.bundle_archive import pack_bundle

    if options.weights is not None:
        raise ValueError("--weights cannot be packed with --zip, because calibration and guard lie beside the weights.")
    logger.info("%s: %d files", options.output, len(pack_bundle(options.bundle, options.output)))
    return 0


def _export_network(options: argparse.Namespace) -> int:
    from monai.bundle import ConfigParser

    from mtmedformer_monai.io.atomic_files import load_checkpoint
    from mtmedformer_monai.networks import export_onnx

    config = options.bundle / "configs" / "inference.json"
    weights = options.weights or options.bundle / "models" / "model.pt"
    for path in (config, weights):
        if not path.is_file():
            raise FileNotFoundError(f"no file at {path}; specify a bundle with --bundle, weights with --weights.")
    require_trust(options, [config])
    parser = ConfigParser()
    parser.read_config(str(config))
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(load_checkpoint(weights))
    names = export_onnx(network, options.output, parser.get_parsed_content("image_size"))
    logger.info("%s: input image, outputs %s", options.output, ", ".join(names))
    return 0
