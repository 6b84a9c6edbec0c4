"""For tests: two arrays, tensors, files, or nests of them are close, or the message says where not."""

from __future__ import annotations

from fastcmp.testing.closeness import NotCloseError, assert_close

__all__ = ["NotCloseError", "assert_close"]
