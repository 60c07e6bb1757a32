"""The command line around the protocols: reading files, running detectors, printing tables, writing reports."""
