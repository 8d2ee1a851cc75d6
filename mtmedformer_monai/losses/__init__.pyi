from .hybrid import HybridLoss as HybridLoss
from .implied_mask import ImpliedMask as ImpliedMask
