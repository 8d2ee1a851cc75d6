"""The federation on NVIDIA FLARE, which provides transport, identities, encryption and job scheduling.

The training and aggregation code is that of every other engine: `SiteSession` at the sites and `ServerSession` at the
server. This package is a thin shell around both, and needs the extra `flare`. See docs/flare.md.
"""
