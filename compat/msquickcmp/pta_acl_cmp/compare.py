"""The import line of the original tool, ``from msquickcmp.pta_acl_cmp.compare import dump_data``, for scripts that have it already.

``msquickcmp`` and ``pta_acl_cmp`` are namespace packages on purpose (no ``__init__.py``): a real msquickcmp beside this one stays whole.
"""

from __future__ import annotations

from fastcmp.dump import dump_data

__all__ = ["dump_data"]
