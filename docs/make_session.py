"""Put what `make demo` prints into README.md.

python docs/make_session.py OUTPUT-OF-MAKE-DEMO
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- demo: made by docs/make_session.py -->", "<!-- end of demo -->"


def main() -> int:
    printed = Path(sys.argv[1]).read_text(encoding="utf-8").strip()
    text = README.read_text(encoding="utf-8")
    before, after = text[: text.index(BEGIN)], text[text.index(END) :]
    # Process numbers differ from run to run.
    printed = re.sub(r"\b\d+_cmp_dump", "PID_cmp_dump", printed)
    README.write_text(f"{before}{BEGIN}\n```\n{printed}\n```\n{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
