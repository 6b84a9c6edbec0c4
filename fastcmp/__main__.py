"""``python -m fastcmp`` is ``fastcmp``."""

import signal
import sys

# Until we can say it in words, a Ctrl-C ends the process by its signal, without a traceback from among the imports.
_before = signal.getsignal(signal.SIGINT)
if _before is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from fastcmp.cli.main import entry  # noqa: E402 - these are the imports that are meant

if _before is signal.default_int_handler:
    signal.signal(signal.SIGINT, _before)

sys.exit(entry())
