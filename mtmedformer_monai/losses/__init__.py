"""The hybrid multi-task loss and the strategies that balance the tasks.

Public names are loaded lazily, so importing this package imports neither MONAI nor torch. They are listed in
`__init__.pyi`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
