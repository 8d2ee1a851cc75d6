"""Datalists, splits, datasets, synthetic cohorts, and converters of public datasets.

Public names are loaded lazily, so that importing this package imports neither MONAI nor PyTorch. `__init__.pyi` lists
them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
