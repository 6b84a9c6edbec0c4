"""Run every block of docs/guide.md and docs/guide.zh.md, and put what the commands print into the pages.

python docs/make_guide.py [PAGE ...]            rewrite what is printed otherwise now, and what is one line "?" only
python docs/make_guide.py --check [PAGE ...]    exit 1 if a command prints something else than its page says, write nothing

The blocks of a page run in their order, in one bash and one empty directory:

* ```console: lines that begin with "$ " are commands, what stands below each is all that it prints on stdout. A line "..." stands for any
  lines, "..." in a line for any text. Numbers with a point may be off by a tenth, times by anything. A command may end with 1
  if it is a fastcmp; any other exit code but 0 has to be shown by `$ echo $?`.
* Any other block that begins with the comment "# NAME.py", "# NAME.toml" or "# NAME.map" is that file; other Python is run.
* A block below a line that begins with one of NOT_RUN is left alone; that line tells the reader why.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PAGES = ("guide.md", "guide.zh.md")
NOT_RUN = ("*Not run by the test of this page:", "*本页的测试不执行这一块：")
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE_NAME = re.compile(r"# (\w+\.(?:py|toml|map))\n")
# A shell's own settings, and those of a dump, are not for these commands.
SETTINGS = ("FASTCMP_", "ACLTRANSFORMER_", "ATB_", "AIT_", "LD_PRELOAD", "PYTHONPATH", "RANK", "BROKEN", "COLUMNS")
MARK = "@@ command "
NUMBER_TOLERANCE = 0.1
TIME = re.compile(r"\bin (?:\d+ (?:h|min) )*[\d.]+ m?s\b|[\d.]+ [kMG]?B/s")
NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?|\d+(?= times\b)")
LIMIT_S = 900


@dataclass(frozen=True)
class Command:
    """One command, what its page says that it prints, and where in the page that stands."""

    line: int
    script: str
    expected: str | None
    start: int = 0
    end: int = 0


def main() -> int:
    check = "--check" in sys.argv
    pages = [Path(name) for name in sys.argv[1:] if name != "--check"] or [DOCS / name for name in PAGES]
    wrong = 0
    for page in pages:
        text = page.read_text(encoding="utf-8")
        commands = commands_of(text)
        with tempfile.TemporaryDirectory() as directory:
            printed = run(commands, Path(directory))
        made = text
        for command, (output, status) in reversed(list(zip(commands, printed, strict=True))):
            complaint = judged(command, output, status)
            if complaint and not check and command.expected is not None and "..." not in command.expected:
                made = made[: command.start] + output + made[command.end :]
                complaint = judged(Command(command.line, command.script, output), output, status)
            if complaint:
                wrong += 1
                print(f"{page.name}:{command.line}: {complaint}\n")
        if made != text:
            page.write_text(made, encoding="utf-8")
    return 1 if wrong else 0


def commands_of(text: str) -> list[Command]:
    """The commands of all blocks of a page that are run, in order."""
    commands = []
    for block in BLOCK.finditer(text):
        language, body, start = block[1], block[2], block.start(2)
        line = text.count("\n", 0, start) + 1
        above = text[: block.start()].rstrip("\n").rpartition("\n")[2]
        named = FILE_NAME.match(body)
        if above.startswith(NOT_RUN):
            continue
        if language == "console":
            commands += commands_of_console(text, body, start)
        elif named:
            commands.append(Command(line, f"cat >{named[1]} <<'END OF FILE'\n{body}END OF FILE", None))
        elif language == "python":
            commands.append(Command(line, f"python -W error - <<'END OF FILE'\n{body}END OF FILE", None))
        else:
            raise SystemExit(f"line {line}: a block in {language or 'no language'!r} that is not run; say why above it, by {NOT_RUN[0]}")
    return commands


def commands_of_console(text: str, body: str, start: int) -> list[Command]:
    found = list(re.finditer(r"^\$ ((?:.*\\\n)*.*)\n", body, re.MULTILINE))
    if not found or found[0].start() != 0:
        raise SystemExit(f"line {text.count(chr(10), 0, start) + 1}: a console block begins with a command")
    ends = [*(after.start() for after in found[1:]), len(body)]
    return [
        Command(text.count("\n", 0, start + one.start()) + 1, one[1], body[one.end() : end], start + one.end(), start + end)
        for one, end in zip(found, ends, strict=True)
    ]


def run(commands: list[Command], directory: Path) -> list[tuple[str, int]]:
    """What each command prints, and its exit code; all in one bash, so that variables and $? go on."""
    lines = ["set +m"]
    for command in commands:
        lines += ["(exit ${status:-0})", command.script, "status=$?", f"printf '\\n{MARK}%d\\n' $status"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    environment |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}", "PYTHONUTF8": "1", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)], cwd=directory, env=environment, capture_output=True, encoding="utf-8", timeout=LIMIT_S
    )
    pieces = re.split(rf"\n{MARK}(\d+)\n", done.stdout)
    printed = list(zip((piece for piece in pieces[0::2]), map(int, pieces[1::2]), strict=False))
    if len(printed) != len(commands):
        raise SystemExit(f"{len(printed)} of {len(commands)} commands ran\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    for command, (_, status) in zip(commands, printed, strict=True):
        if status > 1:
            print(f"stderr, because line {command.line} ended with {status}:\n{done.stderr[-4000:]}")
    shown = str(directory.resolve())
    return [(re.sub(r"\b\d+_cmp_dump", "PID_cmp_dump", output.replace(shown, "/work")), status) for output, status in printed]


def judged(command: Command, output: str, status: int) -> str:
    """What is wrong with what a command did, or ""."""
    allowed = (0, 1) if re.match(r"(\w+=\S+ )*(fastcmp|echo)\b", command.script) else (0,)
    if status not in allowed and "|| " not in command.script:
        return f"$ {command.script}\nended with {status}"
    if command.expected is not None and not agrees(command.expected, output):
        return f"$ {command.script}\nprinted\n{output}\nbut the page says\n{command.expected}"
    return ""


def agrees(expected: str, printed: str) -> bool:
    """Whether a command printed what its page says, but for what is left out there, times, and the last digits."""
    return lines_agree(expected.splitlines(), printed.splitlines())


def lines_agree(expected: list[str], printed: list[str]) -> bool:
    if not expected:
        return not printed
    if expected[0].strip() == "...":
        return any(lines_agree(expected[1:], printed[skipped:]) for skipped in range(len(printed) + 1))
    return bool(printed) and line_agrees(expected[0], printed[0]) and lines_agree(expected[1:], printed[1:])


def line_agrees(expected: str, printed: str) -> bool:
    """One line: text in place of "...", the same text between the numbers, and numbers that are near each other."""
    expected, printed = plain(expected), plain(printed)
    texts = NUMBER.split(expected)
    pattern = f"({NUMBER.pattern})".join(re.escape(text).replace(r"\.\.\.", ".*") for text in texts)
    found = re.fullmatch(pattern, printed)
    if not found:
        return False
    pairs = zip(map(float, NUMBER.findall(expected)), map(float, found.groups()), strict=True)
    return all(abs(one - other) <= NUMBER_TOLERANCE * max(abs(one), abs(other)) for one, other in pairs)


def plain(line: str) -> str:
    """A line without what differs from run to run: process numbers, times, and the width of columns."""
    return re.sub(r" +", " ", TIME.sub("TIME", re.sub(r"\b\d+_cmp_dump", "PID_cmp_dump", line))).rstrip()


if __name__ == "__main__":
    sys.exit(main())
