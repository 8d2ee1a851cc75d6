"""Maps of the evidence for a class: which pixels of an image a classification depends on.

Public names are loaded lazily; they are listed in `__init__.pyi`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
