from .hybrid import HybridLoss as HybridLoss
