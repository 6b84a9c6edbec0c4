"""What the environment of this process would select. The library itself is asked: there is one reading of these variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from fastcmp.doctor.report import Section

_SHOWN: Final = ("FASTCMP_", "ATB_", "ACLTRANSFORMER_", "ASDOPS_", "AIT_")


def examine_environment(answer: dict[str, Any] | None, environment: Mapping[str, str]) -> Section:
    """Judge the library's answer; None where it could not be asked."""
    section = Section("environment")
    variables = {name: value for name, value in sorted(environment.items()) if name.startswith(_SHOWN)}
    section.facts = {"variables": variables, "selection": answer}
    if variables:
        section.lines.extend(f"{name}={value}" for name, value in variables.items())
    else:
        section.lines.append("no variable of fastcmp or of an acceleration library is set")
    section.lines.extend(_asked_by_old_libraries(environment))
    if answer is None:
        return section
    reasons = [str(reason) for reason in answer.get("reasons") or []]
    because = "; ".join(reasons)
    malformed = [reason for reason in reasons if ": found '" in reason]
    by_environment = answer.get("select") == "environment"
    # The seed's variables let registered tensors through and select nothing by themselves: a cause only where they do not even do that.
    asks = any(value for name, value in variables.items() if name.startswith("ATB_SAVE_TENSOR"))
    asks = asks or (answer.get("era") == "acltransformer" and bool(reasons))
    if answer.get("dump") is False:
        section.find("environment", f"saving is switched off: FASTCMP_DUMP={environment.get('FASTCMP_DUMP', '')}")
    elif answer.get("select") == "registered":
        section.lines.extend(malformed)
        section.lines.append("only registered paths are saved" + (f"; of {answer['allow_list']} too" if answer.get("allow_list") else ""))
    elif answer.get("selects"):
        section.lines.append(f"selects tensors ({answer.get('era')}); they go to {answer.get('output')}")
        section.lines.extend(reasons)
    elif by_environment or (asks and not answer.get("allow_list")):
        section.find("environment", f"the environment selects no tensor: {because or 'nothing is asked for'}")
    else:
        section.lines.extend(malformed)
        section.lines.append("selects nothing by itself: what is saved is what dump_data(tensor_path=...) registers")
    return section


def _asked_by_old_libraries(environment: Mapping[str, str]) -> list[str]:
    """A libacltransformer asks these before it offers a tensor to anybody, registered or not."""
    values = {name: environment.get(f"ACLTRANSFORMER_SAVE_TENSOR{name}", "") for name in ("", "_MAX", "_RUNNER")}
    if not any(values.values()):
        return []
    if values[""] != "1":
        return ["a libacltransformer offers no tensor at all: ACLTRANSFORMER_SAVE_TENSOR is not 1"]
    rounds = f"the rounds before {values['_MAX']}" if values["_MAX"] else "the first round only (ACLTRANSFORMER_SAVE_TENSOR_MAX is not set)"
    runners = f" of {values['_RUNNER']}..." if values["_RUNNER"] else ""
    return [f"a libacltransformer offers {rounds}{runners}, whatever is registered"]


def output_directories(answer: dict[str, Any] | None, environment: Mapping[str, str], directory: str | None) -> list[str]:
    """Where tensors would go: absolute, without repeats, existing or not.

    That is the dump directory, with the home of low-level tensors where one is named, and the library's own output directory only where
    the environment selects tensors: registered ones never go there.
    """
    named = [directory or environment.get("FASTCMP_DUMP_DIR") or ".", environment.get("ACLTRANSFORMER_HOME_PATH", "")]
    output = (answer or {}).get("output")
    if isinstance(output, str) and (answer or {}).get("selects"):
        named.append(output)
    return list(dict.fromkeys(os.path.abspath(one) for one in named if one))


def min_free_of(answer: dict[str, Any] | None) -> int:
    """The bytes that the library leaves free on a disk; 0 where it could not be asked."""
    value = (answer or {}).get("min_free")
    return value if isinstance(value, int) else 0
