"""Pass or fail from true metrics and the default rules alone."""

from __future__ import annotations

import math
from typing import Literal

from metrics_truth import PRECISION, VALUE_BITS, Truth
from tensor_files import COMPLEX, FLOATS, INTEGERS, Tensor

# Largest relative_euclidean_distance by the narrower storage dtype; fp6 and fp4 are judged as fp8, complex by one of its parts.
LIMITS = dict.fromkeys(FLOATS, 1.5e-1) | {"float64": 1e-4, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
PART = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}
# A distance this near to its limit may be on either side.
TOO_CLOSE = 2e-9


def verdict(golden: Tensor, target: Tensor, truth: Truth, *, scale_known: bool = False) -> Literal["pass", "fail", "too close"]:
    """What the default rules say about a compared pair."""
    columns = truth.columns
    if [n for n in golden.shape if n != 1] != [n for n in target.shape if n != 1] or columns["nonfinite_mismatch_count"]:
        return "fail"
    if columns["element_count"] == 0 or columns["max_absolute_error"] is None:
        return "pass"
    exact = (*INTEGERS, "bool")
    if (golden.dtype in exact and target.dtype in exact) or "bool" in (golden.dtype, target.dtype):
        return "fail" if columns["mismatch_count"] else "pass"
    if (golden.dtype in exact or target.dtype in exact) and not scale_known:
        return "fail"
    distance, limit = columns["relative_euclidean_distance"], distance_limit(golden, target)
    assert isinstance(distance, float)
    if math.isclose(distance, limit, rel_tol=TOO_CLOSE):
        return "too close"
    return "pass" if distance <= limit else "fail"


def distance_limit(golden: Tensor, target: Tensor) -> float:
    """By the dtype with fewer significand bits; an integer is judged as the float that has no more bits than it, fp8 if none has."""
    bits = [VALUE_BITS.get(side.dtype) or PRECISION.get(PART.get(side.dtype, side.dtype), (1, 0))[0] for side in (golden, target)]
    narrow = golden if bits[0] <= bits[1] else target
    if narrow.dtype in INTEGERS:
        return next((limit for least, limit in ((24, 1e-4), (11, 1e-2), (7, 5e-2)) if min(bits) >= least), 1.5e-1)
    return LIMITS[PART[narrow.dtype] if narrow.dtype in COMPLEX else narrow.dtype]
