"""Tables in the documentation are made from the code, and say so when they no longer are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np

import fastcmp
from fastcmp.dtypes import BY_ACL_CODE
from fastcmp.errors import CODES
from fastcmp.results.schema import COLUMNS

sys.path.insert(0, str(Path(__file__).parent / "fuzz"))
import fuzz_run

ROOT = Path(__file__).resolve().parent.parent


def test_generated_tables_are_up_to_date() -> None:
    done = subprocess.run([sys.executable, "docs/make_tables.py", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_pages_of_show_are_what_it_prints() -> None:
    done = subprocess.run([sys.executable, "docs/make_show.py", "--check"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_column_and_code_is_documented() -> None:
    text = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert {column.name for column in COLUMNS} | set(CODES) <= documented


def test_every_make_target_of_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md", "bench/README.md"):
        named = set(re.findall(r"`make ([a-z-]+)", (ROOT / name).read_text(encoding="utf-8")))
        assert named <= targets, f"{name} names targets that the Makefile lacks: {sorted(named - targets)}"


def test_links_between_the_documents_lead_somewhere() -> None:
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "bench" / "README.md"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_every_test_that_the_documents_name_exists() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:tests|cpp/tests)/[\w/.]+)`", text))
    assert len(named) > 20 and {path for path in named if not (ROOT / path).exists()} == set()
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    assert set(re.findall(r"`TRY_(\w+)`", text)) == set(re.findall(r'\btries\("(\w+)"', sources))
    assert not re.search(r"max_examples[=](?!examples\()", sources), "TRY_EXAMPLES makes every property larger"


def test_a_number_stands_for_one_fault() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8").partition("## Figures")[0]
    rows = [number for first in re.findall(r"^\| (R[^|]*) \|", text, re.MULTILINE) for number in first.split(", ")]
    assert {number for number in rows if rows.count(number) > 1} == {"R15"}  # on inputs, on outputs, and in `dump_data`
    assert set(rows) == {f"R{number:02}" for number in range(1, 50)}


def test_every_fuzz_target_is_in_the_table() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `((?:cpp|python)-\w+)` \|", text, re.MULTILINE)
    assert sorted(rows) == sorted(target.label for target in (*fuzz_run.cpp_targets(), *fuzz_run.python_targets()))


def test_the_bin_file_of_the_documents_is_read_as_they_say(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    (header,) = re.findall(r"^```\n(\$Version=.*?)^```", text, re.DOTALL | re.MULTILINE)
    ((name, printed),) = re.findall(r"^```\n\$ fastcmp inspect (\S+\.bin)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    values = np.arange(6, dtype="<f4").reshape(2, 3)
    (tmp_path / name).write_bytes(header.encode() + values.tobytes())
    assert values.nbytes == int(re.findall(r"Here (\d+) bytes follow", text)[0])
    np.testing.assert_array_equal(fastcmp.read_tensor(tmp_path / name), values)
    done = subprocess.run([sys.executable, "-m", "fastcmp", "inspect", name], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, printed)
    codes = re.search(r"aclDataType \((.*?)\)", text, re.DOTALL)
    assert codes is not None and {int(code): word for code, word in re.findall(r"(\d+) (\w+)", codes[1])} == {
        code: BY_ACL_CODE[code].name for code in (0, 1, 3, 9, 27)
    }


def test_what_the_documents_do_in_python_works(tmp_path: Path) -> None:
    """The blocks of docs/python.md one after the other, then README's about comparing, then the test that goes through the plugin."""
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    tests = [block for block in blocks if "def test_" in block]
    of_readme = [block for block in re.findall(r"^```python\n(.*?)^```", readme, re.DOTALL | re.MULTILINE) if "fastcmp.compare(" in block]
    assert len(blocks) > 5 and len(tests) == 1 and len(of_readme) == 1
    program = "\n".join([*(block for block in blocks if block not in tests), *of_readme])
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stderr == "", done.stdout + done.stderr
    for printed in re.findall(r"^<!-- printed -->\n```\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        assert printed in done.stdout
    for remark in re.findall(r"^print\(.*?\) +# (.*: .*)$", text, re.MULTILINE):
        assert remark in done.stdout
    (tmp_path / "test_block.py").write_text(tests[0], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "test_block.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
