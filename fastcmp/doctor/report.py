"""What the doctor says: sections of facts, and findings by name."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from fastcmp.errors import EXIT_DIFFERENT, EXIT_OK

CAUSES: Final[dict[str, str]] = {
    # the installation
    "no-preload-library": "install fastcmp again, on Linux (x86-64 or aarch64)",
    "preload-not-loadable": "install fastcmp again for this machine; name only libraries that exist in LD_PRELOAD",
    "preload-shadowed": "name the library that `fastcmp preload-path` prints first in LD_PRELOAD, or use `fastcmp run`",
    # the acceleration library, as a file
    "unreadable-library": "name the libatb.so or libacltransformer.so that the model loads",
    "other-machine": "use an acceleration library and a Python of one kind of machine",
    "no-hooks": "name the library that saves tensors: libatb.so, or libacltransformer.so in old installations",
    "abi": "preload fastcmp's own library, which serves both C++ ABIs; if it is that one, tell us the version of the acceleration library",
    "symbolic": "link it without -Bsymbolic; no preloaded library can reach calls that stay inside",
    "bound-inside": "link it without -Bsymbolic-functions and compile it without -fno-semantic-interposition",
    "hidden": "compile these functions with default visibility",
    "in-executable": "put the acceleration library into a .so; a program comes before LD_PRELOAD when functions are looked up",
    # a run, as its heartbeats tell
    "no-heartbeat": "start the program with `fastcmp run -- CMD ...`, read on its stderr what the dynamic linker says of LD_PRELOAD, "
    "and look into the program itself (fastcmp doctor --lib PROGRAM)",
    "no-last-word": "see what ended it: a signal, the machine's memory, a crash, os._exit; what it has saved is whole and can be compared",
    "deepbind": "load the library without RTLD_DEEPBIND (Python: sys.setdlopenflags, ctypes mode)",
    "never-called": "check that the model runs on this library in this process, and that the library saves at all "
    "(in those of 2023 ACLTRANSFORMER_SAVE_TENSOR=1, which `fastcmp run` sets where only registered tensors are selected)",
    "not-registered": "compare the registered tensor_path and token_id with what the library has, or use a * in the path. To see all "
    "that it has, save the first round by the environment, `ATB_SAVE_TENSOR=1 ATB_SAVE_TENSOR_RANGE=0,0 ATB_SAVE_TENSOR_PART=1 "
    "fastcmp run --select environment -- CMD ...` (libacltransformer: ACLTRANSFORMER_SAVE_TENSOR=1 in place of the three), "
    "and list the files below msit_dump/tensors (libacltransformer: tensors): what follows the directories of the run and the token is a "
    "tensor_path",
    "environment": "register paths with dump_data(tensor_path=...), or set what is named here",
    "disk-full": "free some space, dump elsewhere (FASTCMP_DUMP_DIR, ATB_OUTPUT_DIR), or lower FASTCMP_MIN_FREE",
    "limit-reached": "raise FASTCMP_DUMP_LIMIT, or dump fewer tokens",
    "not-writable": "make the directory writable for this user, or dump elsewhere",
    "write-failed": "see the reason named here",
    "stalled": "check the file system, or raise FASTCMP_MAX_STALL_S",
    "list-refused": "make the allow-list a regular file of this user that nobody else can write",
    "refused": "see the tensor named here; paths must stay inside the output directory, sizes below 10 GiB",
    "no-device-copy": "load the library of the device (libascendcl.so) into the process; without it no tensor can be fetched",
    "internal-error": "please report it, with the heartbeat file",
}  # fmt: skip
"""Every cause by its name, with what to do about it. The names are stable: scripts may look for them."""


@dataclass(frozen=True)
class Finding:
    """One cause that was found. ``evidence`` is a sentence: where, and what was seen there."""

    name: str
    evidence: str

    def __post_init__(self) -> None:
        if self.name not in CAUSES:
            raise KeyError(f"cause {self.name!r} is not in the closed list")

    @property
    def advice(self) -> str:
        return CAUSES[self.name]


@dataclass
class Section:
    """Facts on one subject: ``facts`` for scripts (plain JSON types), ``lines`` for a person, and what was found wrong."""

    title: str
    facts: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def find(self, name: str, evidence: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(name, evidence))


@dataclass(frozen=True)
class Report:
    """All sections of one examination."""

    sections: tuple[Section, ...]

    @property
    def findings(self) -> list[Finding]:
        """Each cause once, though a library is both named and met in a run."""
        return list(dict.fromkeys(finding for section in self.sections for finding in section.findings))

    @property
    def exit_code(self) -> int:
        """0 where nothing was found wrong, 1 otherwise."""
        return EXIT_DIFFERENT if self.findings else EXIT_OK

    def as_json(self) -> dict[str, Any]:
        """The report in plain JSON types."""
        return {
            "fastcmp_doctor": 1,
            "exit_code": self.exit_code,
            "findings": [{**asdict(finding), "advice": finding.advice} for finding in self.findings],
            **{section.title.replace(" ", "_"): section.facts for section in self.sections},
        }
