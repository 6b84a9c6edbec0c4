"""``python -m fastcmp`` is ``fastcmp``."""

import sys

from fastcmp.cli.main import entry

sys.exit(entry())
