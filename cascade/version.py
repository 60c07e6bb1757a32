"""The version of cascade, stated once."""

__version__ = "0.2.0"
