from .posterior_sites import PosteriorSites as PosteriorSites
