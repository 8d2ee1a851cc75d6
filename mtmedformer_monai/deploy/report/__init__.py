"""The HTML report of a run: pictures with layers to switch on and off, findings, and what was refused.

Public names are loaded lazily; they are listed in `__init__.pyi`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
