"""Names for command-line choices. This module imports nothing heavy, so that `--help` is fast."""

from __future__ import annotations

from typing import Final

STRATEGIES: Final = {
    "bayesian": ("pvi.strategy", "PVI"),
    "fedavg": ("strategies.fedavg", "FedAvg"),
    "fedavgm": ("strategies.fedopt", "FedAvgM"),
    "fedadam": ("strategies.fedopt", "FedAdam"),
    "fedprox": ("strategies.fedprox", "FedProx"),
    "fedbn": ("strategies.fedbn", "FedBN"),
    "scaffold": ("strategies.scaffold", "Scaffold"),
    "feddyn": ("strategies.feddyn", "FedDyn"),
    "fisher": ("strategies.fisher_merging", "FisherMerging"),
    "matching": ("strategies.matched_averaging", "MatchedAveraging"),
    "kronecker": ("strategies.kronecker", "KroneckerMerging"),
    "pfnm": ("strategies.pfnm", "PFNM"),
    "fedpa": ("strategies.fedpa", "FedPA"),
    "fedmix": ("strategies.fedmix", "FedMix"),
    "condistfl": ("strategies.condistfl", "ConDistFL"),
    "local": ("strategies.local_only", "LocalOnly"),
}
"""{strategy: (module, class)}. To add a strategy, add its file, an entry here and an entry in
`strategies/__init__.pyi`.
"""

SPLIT_SYSTEMS: Final = {
    "festa": ("split.festa", "FeSTA"),
    "p_festa": ("split.p_festa", "PFeSTA"),
    "fesvibs": ("split.fesvibs", "FeSViBS"),
    "task_agnostic": ("split.task_agnostic", "TaskAgnostic"),
}
"""{split-learning baseline: (module, class)}. To add a baseline, add its file and an entry here."""

STARTS: Final = ("common", "own", "largest")
"""Weights from which simulated sites start: common initial weights; weights of their own, trained alone before the
federation and aligned when they join; or those of the site with the most training images.
"""

PARTITIONS: Final = ("iid", "site", "labels", "tasks")
"""Ways to partition a cohort across simulated sites; see `mtmedformer_monai.data.sites.partition_across_sites`."""
