"""``python -m fastcmp`` is ``fastcmp``."""

import sys

from fastcmp.cli.main import main

sys.exit(main())
