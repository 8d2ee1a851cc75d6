from .comparison import compare as compare
from .comparison import simulate as simulate
from .settings import SimulationSettings as SimulationSettings
