"""Names that a command line may choose from. Light: nothing is imported that a list of names doesn't need."""

from __future__ import annotations

from typing import Final

STRATEGIES: Final = {
    "bayesian": ("pvi.strategy", "PVI"),
    "fedavg": ("strategies.fedavg", "FedAvg"),
    "fedprox": ("strategies.fedprox", "FedProx"),
    "fedbn": ("strategies.fedbn", "FedBN"),
    "scaffold": ("strategies.scaffold", "Scaffold"),
    "feddyn": ("strategies.feddyn", "FedDyn"),
    "fisher": ("strategies.fisher_merging", "FisherMerging"),
    "matching": ("strategies.matched_averaging", "MatchedAveraging"),
    "fedpa": ("strategies.fedpa", "FedPA"),
    "local": ("strategies.local_only", "LocalOnly"),
}
"""{strategy: (module, class)}. To add one: a file, and a line here and in `strategies/__init__.pyi`."""

SPLIT_SYSTEMS: Final = {
    "festa": ("split.festa", "FeSTA"),
    "p_festa": ("split.p_festa", "PFeSTA"),
    "fesvibs": ("split.fesvibs", "FeSViBS"),
    "task_agnostic": ("split.task_agnostic", "TaskAgnostic"),
}
"""{split-learning baseline: (module, class)}. To add one: a file, and a line here."""

PARTITIONS: Final = ("iid", "site", "labels", "tasks")
"""How simulated sites differ; see `mtmedformer_monai.data.sites.partition_across_sites`."""
