"""The command line around the protocols: reading files, running detectors, writing reports."""
