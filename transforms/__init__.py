"""MONAI dictionary transforms for 2D projection radiographs.

Public names are loaded lazily, so importing this package imports neither MONAI nor torch. `__init__.pyi` lists them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
