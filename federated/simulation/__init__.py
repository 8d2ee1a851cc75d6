"""Simulation of a federation on one machine: a cohort partitioned across sites, with each site in its own process.

Names load on first use: importing this package imports neither MONAI nor torch. `__init__.pyi` lists them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
