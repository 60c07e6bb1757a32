"""Protocols for detectors: WIDER FACE, FDDB, precision and recall, landmarks."""
