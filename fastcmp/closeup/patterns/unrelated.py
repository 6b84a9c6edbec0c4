"""Values of the same size that have nothing to do with golden's."""

from __future__ import annotations

from typing import Final

import numpy as np

from fastcmp.closeup.pattern import Couple, Pattern, no

_LEAST: Final = 64
_ALIKE: Final = 0.25
_SIZES: Final = 2.0


def unrelated(couple: Couple) -> Pattern:
    """As large as golden, and as like it as any other tensor: other weights (a transposed one, another layer's) or another input."""
    name = "unrelated values"
    count = int(couple.finite.sum())
    if not couple.has_enough or count < _LEAST or couple.differing < 0.9 * count:
        return no(name)
    golden, target = couple.golden[couple.finite], couple.target[couple.finite]
    golden, target = golden - golden.mean(), target - target.mean()
    spread, other = float(np.linalg.norm(golden)), float(np.linalg.norm(target))
    if not spread or not other or not 1.0 / _SIZES <= other / spread <= _SIZES:
        return no(name)
    alike = float(np.dot(golden, target)) / spread / other
    if abs(alike) > _ALIKE:
        return no(name)
    text = f"correlation {alike:.2f}, though both spread alike ({other / spread:.2f} times golden)"
    return Pattern(name, True, f"{text}: as from other weights (transposed, or of another layer) or from another input")
