"""What a process leaves behind, its heartbeat and its list of registered paths, with whatever a test wants to be otherwise."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

COUNTERS = (
    "offered saved description_only tensor_bytes not_selected resaved refused_path refused_size refused_attributes no_data "
    "no_device_copy over_limit low_disk write_failed stalled already_saved list_refused reentered internal_error"
).split()


def heartbeat(counters: dict[str, int] | None = None, calls: dict[str, int] | None = None, **fields: Any) -> dict[str, Any]:
    """The fields of a heartbeat: of a run in which all is well, but for what is given."""
    now = time.time()
    whole: dict[str, Any] = {
        "fastcmp_preload": 1,
        "version": "0.1.0",
        "pid": 71,
        "program": "/usr/bin/model",
        "started": now - 60,
        "written": now - 5,
        "ended": True,
        "calls": {"abi0": 0, "abi1": 812, "plain": 90, "legacy_abi0": 0, "legacy_abi1": 0} if calls is None else calls,
        "selected_by": "registered",
        "registered_lines": 40,
        "registered_saved": 40 if counters is None else counters.get("saved", 0),
        "counters": dict.fromkeys(COUNTERS, 0) | ({"offered": 900, "saved": 40, "not_selected": 860} if counters is None else counters),
        "queued": 0,
        "last_refusal": "",
        "asked": [],
        "libraries": [{"path": "/x/libatb.so", "defines": 30, "bound_here": 12, "bound_to_itself": 0, "unbound": 18}],
    }
    return whole | fields


def write_heartbeat(directory: Path, fields: dict[str, Any]) -> Path:
    """Write it where its process would have."""
    path = directory / f".fastcmp_probe.{fields['pid']}"
    path.write_text(json.dumps(fields), encoding="utf-8")
    return path


def write_list(
    directory: Path, pid: int, *lines: str, started: float | None = None, ended: float | None = None, saved: tuple[str, ...] = ()
) -> Path:
    """Make the dump directory of a process with a list of registered paths; those in ``saved`` get a file where the library would put it."""
    started = time.time() - 55 if started is None else started
    dump = directory / f"{pid}_cmp_dump_data"
    (dump / "allow_list").mkdir(parents=True)
    (dump / "acl_tensor").mkdir()
    paths = dump / "allow_list" / "paths.txt"
    (dump / ".lock").touch()
    paths.write_text("".join(f"{line}\n" for line in lines))
    (dump / "acl_tensor" / "metadata.json").write_text("{}")
    for made in (dump / ".lock", paths):
        os.utime(made, (started, started))
    ended = started if ended is None else ended
    os.utime(dump / "acl_tensor" / "metadata.json", (ended, ended))
    for line in saved:
        tensor = directory / "tensors" / f"thread_{pid}" / line
        tensor.parent.mkdir(parents=True, exist_ok=True)
        tensor.touch()
    return dump
