"""The dump side: `dump_data` and `dump_model`, called from inside somebody's inference process.

It imports neither torch nor numpy until a tensor is handed in, writes nowhere but in its own dump directory, and never raises into its
caller unless ``FASTCMP_STRICT=1``. Where the files lie is described in `fastcmp.dump_layout`; the environment variables in
`fastcmp.dump.settings`.
"""

from __future__ import annotations

from fastcmp.dump.model import ModelDump, dump_model
from fastcmp.dump.session import dump_counters, dump_data

__all__ = ["ModelDump", "dump_counters", "dump_data", "dump_model"]
