"""Put what `fastcmp show` prints into docs/show.md.

python docs/make_show.py            rewrite
python docs/make_show.py --check    exit 1 if it prints something else now but for digits, write nothing
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

PAGE = Path(__file__).resolve().parent / "show.md"
BEGIN, END = "<!-- {name}: made by docs/make_show.py -->", "<!-- end of {name} -->"
HEADS, HEAD_SIZE = 4, 16


def main() -> int:
    text = PAGE.read_text(encoding="utf-8")
    made = text
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory).resolve()
        write_dumps(root)
        run("compare", "golden", "target", "-q", "-o", "fastcmp_report", cwd=root)
        for name, arguments in (("whole", []), ("pair", ["layers.0.rotary_q", "3", "--worst", "4"])):
            printed = run("show", "fastcmp_report", *arguments, cwd=root).replace(str(root), "/dumps")
            printed = re.sub(r"of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "of 2026-01-31 12:00:00 UTC", printed)
            command = " ".join(["fastcmp show fastcmp_report", *arguments])
            made = replaced(made, name, f"```\n$ {command}\n{printed}```")
    # Another processor may round the last digit otherwise.
    if made == text or ("--check" in sys.argv and re.sub(r"\d", "0", made) == re.sub(r"\d", "0", text)):
        return 0
    if "--check" in sys.argv:
        print("docs/show.md: out of date; run python docs/make_show.py")
        return 1
    PAGE.write_text(made, encoding="utf-8")
    return 0


def write_dumps(root: Path) -> None:
    """Three tensors of four tokens: a rotation that is one position ahead from token 3 on, and two that are right."""
    random = np.random.default_rng(7)
    metadata: dict[str, dict[str, dict[str, str]]] = {"golden": {}, "target": {}}
    for data_id, wrong in (("layers.0.q_proj", lambda q: q), ("layers.0.rotary_q", turned), ("layers.0.v_proj", lambda q: q)):
        for token in range(5):
            golden = random.standard_normal((1, HEADS * HEAD_SIZE)).astype(np.float32)
            change: Callable[[np.ndarray], np.ndarray] = wrong if token >= 3 else lambda q: q
            for side, values in (("golden", golden), ("target", change(golden))):
                path = root / side / f"{token}_{data_id}.npy"
                path.parent.mkdir(exist_ok=True)
                np.save(path, values.astype(np.float32))
                metadata[side].setdefault(data_id, {})[str(token)] = path.name
    for side, document in metadata.items():
        (root / side / "metadata.json").write_text(json.dumps(document), encoding="utf-8")


def turned(values: np.ndarray) -> np.ndarray:
    """Heads turned by one more position."""
    half = HEAD_SIZE // 2
    heads = values.reshape(HEADS, HEAD_SIZE).astype(np.float64)
    angles = 10_000.0 ** (-np.arange(half) / half)
    one, other = heads[:, :half], heads[:, half:]
    both = (one * np.cos(angles) - other * np.sin(angles), one * np.sin(angles) + other * np.cos(angles))
    return np.concatenate(both, axis=-1).reshape(values.shape)


def run(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-m", "fastcmp", *arguments], cwd=cwd, capture_output=True, text=True, encoding="utf-8"
    )
    if done.stderr:
        raise SystemExit(done.stderr)
    return done.stdout


def replaced(text: str, name: str, block: str) -> str:
    """The text with a block between its two marks."""
    begin, end = BEGIN.format(name=name), END.format(name=name)
    before, rest = text.split(begin)
    return f"{before}{begin}\n{block}\n{end}{rest.split(end)[1]}"


if __name__ == "__main__":
    sys.exit(main())
