from .strategy import PVI as PVI
