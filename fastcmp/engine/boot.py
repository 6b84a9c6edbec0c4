"""First lines of the nursery process, run by path and without our package's directory on sys.path.

This file imports nothing of fastcmp at the top: which fastcmp it is, and what sys.path is, comes with the arguments,
so that the children run the same code as their parent from any working directory and under any PYTHONPATH.
"""

from __future__ import annotations

import sys


def _main() -> None:
    import importlib.util
    import json

    arguments = json.loads(sys.argv[1])
    sys.path[:] = arguments["path"]
    home = arguments["home"]
    spec = importlib.util.spec_from_file_location("fastcmp", home + "/__init__.py", submodule_search_locations=[home])
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["fastcmp"] = package
    spec.loader.exec_module(package)

    from fastcmp.engine.nursery import main

    main(arguments["control"], arguments["lifeline"], arguments["page"], arguments["slots"], arguments["parent"])


if __name__ == "__main__":
    # Without -I (see spawn.py) the interpreter has put this file's directory in front, where `plan` or `run` would
    # be found instead of somebody else's.
    if not sys.flags.isolated:
        del sys.path[0]
    _main()
