"""Two hospitals whose privacy policy excludes the encoder train in FLARE's POC mode; checks that the policy holds.

    python benchmarks/flare_privacy_policy.py --output FOLDER

FLARE's simulator does not apply `local/privacy.json`, so this starts the server and the hospitals as services on this
machine. Takes about two minutes. Exits with 1 if a weight of the encoder has changed, or if no other has.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
import yaml

from mtmedformer_monai.cli.main import main as mtmedformer
from mtmedformer_monai.data.synthetic.cohorts import make_cohort
from mtmedformer_monai.federated.flare import environments
from mtmedformer_monai.federated.simulation import SimulationSettings
from mtmedformer_monai.federated.simulation.bundle_parts import initial_weights
from mtmedformer_monai.federated.simulation.cohort import prepare_data

BUNDLE = Path(__file__).resolve().parents[1] / "bundles/chest_xray_multitask"
SMALL = {
    "_target_": "mtmedformer_monai.networks.TransformerSize",
    "widths": [8, 16, 20, 32],
    "depths": [1, 1, 1, 1],
}
OVERRIDES: dict[str, Any] = {"network_def#encoder#size": SMALL, "image_size": [32, 32]}
EXCLUDE = {"name": "ExcludeVars", "args": {"exclude_vars": "^encoder"}}
POLICY = {"scopes": [{"name": "private", "task_result_filters": [EXCLUDE]}], "default_scope": "private"}


def main() -> int:
    """Runs the federation; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    output = parser.parse_args().output.resolve()
    allow = environments.allow_classes

    def allow_and_restrict(local: Path) -> None:
        allow(local)
        if local.parent.name.startswith("site_"):
            (local / "privacy.json").write_text(json.dumps(POLICY))

    environments.allow_classes = allow_and_restrict
    cohort = make_cohort("chest", output / "cohort", 14, image_size=64, seed=0)
    chosen = SimulationSettings(BUNDLE, output / "parts", num_sites=2, datalist=cohort, partition="iid")
    sites = [
        {"name": name, "datalist": str(path), "overrides": OVERRIDES}
        for name, path in prepare_data(chosen).sites.items()
    ]
    (output / "sites.yaml").write_text(yaml.safe_dump({"sites": sites}))
    given = ["--bundle", str(BUNDLE), "--sites", str(output / "sites.yaml"), "--output", str(output / "federation")]
    if mtmedformer(["federate", "flare", "--env", "poc", *given, "--rounds", "2", "--local-epochs", "1"]):
        return 1
    before = initial_weights(BUNDLE, OVERRIDES, 0)
    after = torch.load(output / "federation/models/model.pt", weights_only=True)
    changed = [name for name, value in before.items() if not torch.equal(value, after[name])]
    excluded = [name for name in changed if name.startswith("encoder")]
    print(f"{len(changed)} of {len(before)} tensors changed, {len(excluded)} of them excluded by the policy")
    return int(bool(excluded) or not changed)


if __name__ == "__main__":
    raise SystemExit(main())
