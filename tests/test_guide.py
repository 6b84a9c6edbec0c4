"""Every block of both user guides runs, and prints what its page says."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAKER = ROOT / "docs" / "make_guide.py"
PAGES = ("guide.md", "guide.zh.md")

_spec = importlib.util.spec_from_file_location("make_guide", MAKER)
assert _spec is not None and _spec.loader is not None
make_guide = importlib.util.module_from_spec(_spec)
sys.modules["make_guide"] = make_guide
_spec.loader.exec_module(make_guide)


def check(page: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "utf8", str(MAKER), *arguments, str(page)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=1000)


@pytest.mark.parametrize("name", PAGES)
def test_every_block_of_the_guide_runs_and_prints_what_stands_there(name: str) -> None:
    done = check(ROOT / "docs" / name, "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_languages_have_the_same_blocks_chapters_and_rows() -> None:
    english, chinese = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in PAGES)
    assert [command.script for command in make_guide.commands_of(english)] == [
        command.script for command in make_guide.commands_of(chinese)
    ]
    assert [block.groups() for block in make_guide.BLOCK.finditer(english)] == [
        block.groups() for block in make_guide.BLOCK.finditer(chinese)
    ]
    for what in (r"^(#+) ", r"^(\|)", r"^(\d)\. ", r"^(\*) ", r"\]\((\w+\.md(?:#[^)]*)?)\)"):
        one, other = (re.findall(what, outside_blocks(text), re.MULTILINE) for text in (english, chinese))
        assert [item for item in one if not item.startswith("guide")] == [item for item in other if not item.startswith("guide")], what
    quoted = [set(re.findall(r"`([^`\n]+)`", outside_blocks(text))) for text in (english, chinese)]
    assert len(quoted[0]) > 100 and quoted[0] ^ quoted[1] == set()


def test_only_blocks_for_other_hardware_are_left_out_and_say_so() -> None:
    for name, hardware in zip(PAGES, ("it needs an Ascend NPU", "需要昇腾 NPU"), strict=True):
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        reasons = [line for line in text.splitlines() if line.startswith(make_guide.NOT_RUN)]
        assert len(reasons) == 2 and all(hardware in reason for reason in reasons)
        blocks = len(re.findall(r"^```\w+$", text, re.MULTILINE))
        consoles = len(re.findall(r"^```console$", text, re.MULTILINE))
        commands = make_guide.commands_of(text)
        assert blocks == len(list(make_guide.BLOCK.finditer(text))) > 20
        # What is no console is one command, a file that is written or Python that is run.
        assert sum(command.expected is None for command in commands) == blocks - consoles - len(reasons)


def test_links_into_pages_lead_to_headings() -> None:
    for name in PAGES:
        for target, anchor in re.findall(r"\]\(([\w.]*)#([^)]+)\)", (ROOT / "docs" / name).read_text(encoding="utf-8")):
            text = (ROOT / "docs" / (target or name)).read_text(encoding="utf-8")
            assert anchor in {anchor_of(heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}, f"{name}: {target}#{anchor}"


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("distance 0.51 (859 times)\n", "distance 0.52 (861 times)\n"),
        ("50 pairs, 154 kB in 0.27 s\n", "50 pairs, 154 kB in 2 min 22 s\n"),
        ("a\n...\nz ...\n", "a\nb\nc\nz and more\n"),
        ("a\n...\n", "a\n"),
        ("  name    value\n", "  name  value\n"),
        ("x/PID_cmp_dump_data\n", "x/4711_cmp_dump_data\n"),
        ("", ""),
    ],
)
def test_what_may_differ_between_page_and_command(expected: str, printed: str) -> None:
    assert make_guide.agrees(expected, printed)


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("distance 0.51\n", "distance 0.61\n"),
        ("layer 2, 859 times\n", "layer 3, 859 times\n"),
        ("a\n", "a\nb\n"),
        ("a\nb\n", "a\n"),
        ("a\n...\nz\n", "a\nb\n"),
        ("", "a\n"),
        ("passed 40\n", "passed 41\n"),
    ],
)
def test_what_may_not_differ(expected: str, printed: str) -> None:
    assert not make_guide.agrees(expected, printed)


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ("```console\n$ echo one\ntwo\n```\n", "printed\none"),
        ("```console\n$ false\n```\n", "ended with 1"),
        ("```python\nraise SystemExit(3)\n```\n", "ended with 3"),
        ("```console\n$ (exit 2)\n$ echo $?\n2\n```\n", "ended with 2"),
        ("```bash\necho\n```\n", "that is not run"),
        ("```console\nno command\n```\n", "begins with a command"),
    ],
)
def test_a_page_that_is_wrong_is_told(tmp_path: Path, block: str, complaint: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Text.\n\n{block}", encoding="utf-8")
    done = check(page, "--check")
    assert done.returncode == 1 and complaint in done.stdout + done.stderr
    assert page.read_text(encoding="utf-8") == f"Text.\n\n{block}"


def test_what_is_printed_is_put_into_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    begun = f"```console\n$ name=value\n$ echo $name\n?\n$ pwd\n?\n```\n\n{make_guide.NOT_RUN[0]} because.*\n\n```bash\nfalse\n```\n"
    page.write_text(begun, encoding="utf-8")
    assert check(page).returncode == 0
    assert page.read_text(encoding="utf-8") == begun.replace("name\n?", "name\nvalue").replace("pwd\n?", "pwd\n/work")
    assert check(page, "--check").returncode == 0


def outside_blocks(text: str) -> str:
    return str(make_guide.BLOCK.sub("", text))


def anchor_of(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")
