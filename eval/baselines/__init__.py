"""Adapters for the detectors that ours is compared with."""
