"""The federation on Flower, a second engine beside NVIDIA FLARE.

Flower calls a strategy at the server and an app at the sites; `ServerSession` and `SiteSession` do the work. This
package needs the extra `flower`. See docs/flower.md.
"""
