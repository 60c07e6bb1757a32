"""The experiments of Zhang et al. (2016), each one command; see `python -m train experiment --help`."""
