"""What can be wrong with a gallery."""

from __future__ import annotations

__all__ = ["GalleryAuthenticationError", "GalleryDamagedError", "GalleryError", "GalleryKeyError"]


class GalleryError(ValueError):
    """A name, an embedding or a file that cannot be used for a gallery. The message names it and the reason."""


class GalleryDamagedError(GalleryError):
    """An encrypted gallery whose header is damaged or asks for too much, or that is cut short or of another version."""


class GalleryKeyError(GalleryError):
    """An encrypted gallery without a passphrase or key, with one where it takes the other, or a plain one with any."""


class GalleryAuthenticationError(GalleryError):
    """A wrong passphrase or key, or a file changed after it was encrypted. The two cannot be told apart."""
