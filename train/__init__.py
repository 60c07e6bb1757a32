"""Training of the cascade, one stage at a time; see `python -m train --help`."""
