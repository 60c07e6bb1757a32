"""``python -m cascade``: the same as the command ``cascade``."""

import sys

from cascade.cli import main

sys.exit(main())
