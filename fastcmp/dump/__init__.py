"""The dump side: `dump_data`, called from inside somebody's inference process.

It imports neither torch nor numpy until a tensor is handed in, writes nowhere but in its own dump directory, and never raises into its
caller unless ``FASTCMP_STRICT=1``. Where the files lie is described in `fastcmp.dump_layout`; the environment variables in
`fastcmp.dump.settings`.
"""

from __future__ import annotations

from fastcmp.dump.session import dump_counters, dump_data

__all__ = ["dump_counters", "dump_data"]
