from .explain import DEFAULT_METHOD as DEFAULT_METHOD
from .explain import METHODS as METHODS
from .explain import explain as explain
from .measures import deletion_curve as deletion_curve
from .measures import mass_inside as mass_inside
from .measures import peak_inside as peak_inside
