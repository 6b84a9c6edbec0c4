"""What every test process needs before its first test."""

from __future__ import annotations

import signal
import threading

# A shell starts its background jobs with SIGINT ignored, and children inherit that: no test of Ctrl-C could ever see one.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
