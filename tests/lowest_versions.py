"""Constraints for pip, one a line: the oldest version that pyproject.toml allows of each package that an installation needs.

What the tests need besides is as new as it goes beside those.
"""

from __future__ import annotations

import sys
from pathlib import Path

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# The tests write dtypes that the oldest does not know; the product says then which version does.
NEWER_IN_TESTS = {"ml_dtypes"}
PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def main() -> int:
    facts = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    needed = [*facts["build-system"]["requires"], *facts["project"]["dependencies"], *facts["project"]["optional-dependencies"]["report"]]
    for requirement in map(Requirement, needed):
        if requirement.name in NEWER_IN_TESTS or (requirement.marker is not None and not requirement.marker.evaluate()):
            continue
        (oldest,) = [bound.version for bound in requirement.specifier if bound.operator == ">="]
        print(f"{requirement.name}=={oldest}.*")
    return 0


if __name__ == "__main__":
    sys.exit(main())
