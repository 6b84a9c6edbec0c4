"""``python -m fastcmp.cli`` is ``fastcmp``."""

import sys

from fastcmp.cli.main import main

sys.exit(main())
