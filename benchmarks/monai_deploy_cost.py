"""Measures a chain of MONAI Deploy operators that does what `mtmedformer infer` does for one image, by operator.

    python benchmarks/monai_deploy_cost.py --environment .monai_deploy

Prints the median milliseconds per image of each operator (see `monai_deploy_chain.py`) for both bundles; compare them
with `inference_pipeline.py`. The environment is built in that folder if need be (2 GB).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from inference_sources import KINDS, make_source_parser, make_sources

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = make_source_parser(__doc__)
    parser.add_argument("--environment", type=Path, required=True, help="folder of an environment for MONAI Deploy")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print_chain(make_sources(Path(folder), options.source), options)


def build_deploy_environment(folder: Path) -> Path | str:
    """Returns the interpreter of an environment with the MONAI Deploy App SDK, or why it could not be built."""
    python = folder.resolve() / "bin/python"
    test = [str(python), "-c", "import monai.deploy.core, mtmedformer_monai"]
    if python.exists() and subprocess.run(test, capture_output=True, check=False).returncode == 0:
        return python
    install = [str(python), "-m", "pip", "install", "--quiet", "-c", "requirements.txt", "-r"]
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
        subprocess.run(
            [*install, "deploy_app/requirements.txt", ".[deploy]"], cwd=ROOT, check=True, capture_output=True
        )
        subprocess.run(test, check=True, capture_output=True)
    except (subprocess.CalledProcessError, OSError) as error:
        output = getattr(error, "stderr", None) or str(error).encode()
        return output.decode(errors="replace").strip().splitlines()[-1]
    return python


def print_chain(sources: Mapping[str, Path], options: argparse.Namespace) -> None:
    """Prints the time of each operator in a chain of MONAI Deploy operators."""
    python = build_deploy_environment(options.environment)
    if isinstance(python, str):
        print(f"\nMONAI Deploy App SDK could not be installed: {python}")
        return
    print("\nMONAI Deploy operators, ms:")
    for kind, image in sources.items():
        for cores in options.cores:
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary) / "input"
                folder.mkdir()
                shutil.copy(image, folder)
                script = [str(python), str(ROOT / "benchmarks/monai_deploy_chain.py")]
                arguments = [folder, KINDS[kind], Path(temporary) / "output", cores, options.repeats]
                done = subprocess.run(
                    [*script, *map(str, arguments)], capture_output=True, text=True, check=False,
                    env=os.environ | {"PYTHONPATH": str(ROOT)},
                )  # fmt: skip
            line = next((each for each in reversed(done.stdout.splitlines()) if each.startswith("{")), "")
            if not line:
                print(f"- {kind}, {cores} cores: failed: {(done.stderr.splitlines() or ['no output'])[-1]}")
                continue
            parts = {name: round(value) for name, value in json.loads(line).items()}
            print(f"- {kind}, {cores} cores: sum {sum(parts.values())}, {parts}", flush=True)


if __name__ == "__main__":
    main()
