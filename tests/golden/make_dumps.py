"""Makes the trees beside it by the tools themselves: msprobe's hooks on a torch model, and msprobe's probe under the stand-in library.

    pip install mindstudio-probe==26.2.0 torch           # what it needs on a machine without an NPU
    make build/standin/.built
    python tests/golden/make_dumps.py tests/golden       # one process for each dump: msprobe hooks torch once

They are kept as they were written, but for stack.json, which holds paths of the machine: no test needs the tools, and no run of the tests depends on their versions.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

# What is written holds the path that it was written to.
PLACE = Path("/tmp/fastcmp-golden")
TASKS = {
    "tensor": {"task": "tensor", "tensor": {"scope": [], "list": [], "data_mode": ["all"]}},
    "statistics": {"task": "statistics", "statistics": {"scope": [], "list": [], "data_mode": ["all"], "summary_mode": "statistics"}},
    "md5": {"task": "statistics", "statistics": {"scope": [], "list": [], "data_mode": ["all"], "summary_mode": "md5"}},
    "xor": {"task": "statistics", "statistics": {"scope": [], "list": [], "data_mode": ["all"], "summary_mode": "xor"}},
}
STANDIN = Path(__file__).resolve().parents[2] / "build" / "standin" / "standin"


def main(target: Path) -> None:
    shutil.rmtree(PLACE, ignore_errors=True)
    for task in TASKS:
        for side in ("golden", "target"):
            subprocess.run([sys.executable, __file__, "--one", task, side], check=True)
            _take(PLACE / f"{task}_{side}", target / f"msprobe_{task}_{side}")
    _compare(target / "msprobe_compare.csv")
    for task in ("all", "statistics"):
        _probe(task)
        _take(PLACE / f"atb_{task}", target / f"atb_{task}")


def _take(made: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(made, target, ignore=shutil.ignore_patterns("stack.json"))


def one(task: str, side: str) -> None:
    """One step of a small model; the target's first layer has its weights in bfloat16."""
    import torch
    from msprobe.pytorch import PrecisionDebugger

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.act = torch.nn.Linear(4, 3), torch.nn.GELU()

        def forward(self, values: torch.Tensor, *, scale: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.linear(self.act(self.fc(values)), weight, bias=scale).to(torch.bfloat16)

    place = PLACE / f"{task}_{side}"
    place.mkdir(parents=True, mode=0o750)
    config = PLACE / f"{task}_{side}.json"
    config.write_text(json.dumps({"dump_path": str(place), "rank": [], "step": [], "level": "mix", "async_dump": False, **TASKS[task]}))
    weight = torch.eye(3)
    torch.manual_seed(0)
    model = Model()
    inputs = torch.randn(2, 4)
    if side == "target":
        with torch.no_grad():
            model.fc.weight.copy_(model.fc.weight.bfloat16())
    debugger = PrecisionDebugger(config_path=str(config))
    debugger.start(model=model)
    model(inputs, scale=torch.full((3,), 0.5)).float().sum().backward()
    debugger.stop()


def _compare(target: Path) -> None:
    """What msprobe itself finds between both dumps of tensors."""
    place = PLACE / "compare"
    place.mkdir(mode=0o750)
    sides = ["-gp", str(PLACE / "tensor_golden" / "step0"), "-tp", str(PLACE / "tensor_target" / "step0")]
    subprocess.run([sys.executable, "-m", "msprobe.msprobe", "compare", *sides, "-o", str(place)], check=True)
    (made,) = place.glob("compare_result_*.csv")
    shutil.copy(made, target)


def _probe(task: str) -> None:
    """The stand-in's own model under msprobe's probe for ATB."""
    spec = find_spec("msprobe")
    assert spec is not None and spec.submodule_search_locations
    library = Path(spec.submodule_search_locations[0]) / "lib" / "libatb_probe_abi1.so"
    place = PLACE / f"atb_{task}"
    place.mkdir(parents=True, mode=0o750)
    config = PLACE / f"atb_{task}.json"
    said = {
        "task": task,
        "dump_enable": True,
        "exec_range": "all",
        "ids": "",
        "op_name": "",
        "save_child": True,
        "device": "",
        "filter_level": 1,
    }
    config.write_text(json.dumps(said))
    config.chmod(0o640)
    where = {"ATB_DUMP_CONFIG": str(config), "ATB_OUTPUT_DIR": f"{place}/", "LD_PRELOAD": str(library), "PATH": os.environ["PATH"]}
    subprocess.run([str(STANDIN / "standin_host_abi1"), "--tokens", "2", "--layers", "1", "--bytes", "64"], env=where, check=True)


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        one(*sys.argv[2:])
    else:
        main(Path(sys.argv[1]))
