"""What the preload library exports and needs: the list is written out here, a typo on either side shows."""

from __future__ import annotations

import re
import subprocess
import sysconfig
from pathlib import Path

import pytest
from preload_host import Hosts

from fastcmp.preload_library import library_path

STRING = {0: "Ss", 1: "NSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"}

# Functions without a string argument: one name in both ABIs.
PLAIN = {
    "_ZN3atb5Probe16IsSaveTensorDataEv",
    "_ZN3atb5Probe16IsSaveTensorDescEv",
    "_ZN3atb5Probe21IsExecuteCountInRangeEm",
    "_ZN3atb5Probe18IsSaveTensorBeforeEv",
    "_ZN3atb5Probe17IsSaveTensorAfterEv",
    "_ZN3atb5Probe12IsSaveTilingEv",
    "_ZN3atb5Probe11IsSaveParamEv",
    "_ZN3atb5Probe29ReportOperationIOTensorEnableEv",
    "_ZN3atb5Probe30ReportOperationStatisticEnableEv",
    "_ZN3atb5Probe26ReportKernelIOTensorEnableEv",
    "_ZN3atb5Probe15IsOverflowCheckEv",
    "_ZN3atb5Probe14IsOverflowStopEv",
    "_ZN3atb5Probe12UpdateConfigEv",
    "_ZN3atb5Probe26ReportOperationGraphEnableEv",
    "_ZN3atb5Probe11IsSaveChildEv",
    "_ZN3atb5Probe14IsSaveIntensorEv",
    "_ZN3atb5Probe15IsSaveOuttensorEv",
}

OF_ABI_0 = {
    "_ZN3atb5Probe16IsTensorNeedSaveERKSt6vectorIlSaIlEERKSs",
    "_ZN3atb5Probe10SaveTensorERKSsS2_S2_PKvmS2_",
    "_ZN3atb5Probe10SaveTilingEPKhmRKSs",
    "_ZN3atb5Probe9SaveParamERKSsS2_",
    "_ZN3atb5Probe23ReportOperationIOTensorEmRKSsS2_RKSt6vectorINS0_6TensorESaIS4_EES8_",
    "_ZN3atb5Probe29ReportOperationSetupStatisticEmRKSsS2_",
    "_ZN3atb5Probe31ReportOperationExecuteStatisticEmRKSsS2_",
    "_ZN3atb5Probe20ReportKernelIOTensorEmRKSsS2_RKSt6vectorINS0_6TensorESaIS4_EES8_",
    "_ZN3atb5Probe20ReportOverflowKernelERKSs",
    "_ZN3atb5Probe25IsSaveTensorInSpecificDirERKSs",
    "_ZN3atb5Probe20ReportOperationGraphERKSsS2_",
    "_ZN9atb_speed10SpeedProbe21IsReportModelTopoInfoERKSs",
    "_ZN9atb_speed10SpeedProbe19ReportModelTopoInfoERKSsS2_",
    "_ZN14AclTransformer10TensorUtil10SaveTensorERKN6AsdOps6TensorERKSs",
    "_ZN14AclTransformer9StoreUtil10SaveTensorERKN6AsdOps6TensorERKSs",
    "_ZN3atb9StoreUtil10SaveTensorERKN6AsdOps6TensorERKSs",
    "_ZN3atb9StoreUtil10SaveTensorERKNS_6TensorERKSs",
}

# The string is a longer name there, and of several parts: what refers back to an earlier part counts them.
OF_ABI_1 = {
    f"_ZN3atb5Probe16IsTensorNeedSaveERKSt6vectorIlSaIlEERK{STRING[1]}",
    f"_ZN3atb5Probe10SaveTensorERK{STRING[1]}S8_S8_PKvmS8_",
    f"_ZN3atb5Probe10SaveTilingEPKhmRK{STRING[1]}",
    f"_ZN3atb5Probe9SaveParamERK{STRING[1]}S8_",
    f"_ZN3atb5Probe23ReportOperationIOTensorEmRK{STRING[1]}S8_RKSt6vectorINS0_6TensorESaISA_EESE_",
    f"_ZN3atb5Probe29ReportOperationSetupStatisticEmRK{STRING[1]}S8_",
    f"_ZN3atb5Probe31ReportOperationExecuteStatisticEmRK{STRING[1]}S8_",
    f"_ZN3atb5Probe20ReportKernelIOTensorEmRK{STRING[1]}S8_RKSt6vectorINS0_6TensorESaISA_EESE_",
    f"_ZN3atb5Probe20ReportOverflowKernelERK{STRING[1]}",
    f"_ZN3atb5Probe25IsSaveTensorInSpecificDirERK{STRING[1]}",
    f"_ZN3atb5Probe20ReportOperationGraphERK{STRING[1]}S8_",
    f"_ZN9atb_speed10SpeedProbe21IsReportModelTopoInfoERK{STRING[1]}",
    f"_ZN9atb_speed10SpeedProbe19ReportModelTopoInfoERK{STRING[1]}S8_",
    f"_ZN14AclTransformer10TensorUtil10SaveTensorERKN6AsdOps6TensorERK{STRING[1]}",
    f"_ZN14AclTransformer9StoreUtil10SaveTensorERKN6AsdOps6TensorERK{STRING[1]}",
    f"_ZN3atb9StoreUtil10SaveTensorERKN6AsdOps6TensorERK{STRING[1]}",
    f"_ZN3atb9StoreUtil10SaveTensorERKNS_6TensorERK{STRING[1]}",
}

OURS = {"fastcmp_preload_follow", "fastcmp_preload_drain", "fastcmp_preload_status", "fastcmp_preload_environment"}

# Real helpers of the library, and the forms of StoreUtil::SaveTensor that must be left alone.
NEVER = re.compile("AsdopsTensorToProbeTensor|AtbTensorToProbeTensor|Mki|9StoreUtil10SaveTensorERK[^N]|9StoreUtil10SaveTensorERKNSt")


def output_of(*command: object) -> str:
    return subprocess.run([*map(str, command)], check=True, capture_output=True, text=True, timeout=60).stdout


def defined_by(library: Path) -> set[str]:
    return {line.split()[-1].split("@")[0] for line in output_of("nm", "-D", "--defined-only", library).splitlines()}


def test_exactly_the_written_list_is_exported_and_nothing_else(preload_library: Path) -> None:
    assert defined_by(preload_library) == PLAIN | OF_ABI_0 | OF_ABI_1 | OURS


def test_the_probe_has_its_28_and_2_symbols_in_each_abi() -> None:
    for of_abi in (OF_ABI_0, OF_ABI_1):
        probe = {name for name in PLAIN | of_abi if name.startswith("_ZN3atb5Probe")}
        speed = {name for name in of_abi if name.startswith("_ZN9atb_speed")}
        assert (len(probe), len(speed)) == (28, 2)


def test_the_helpers_of_the_library_are_left_to_it(preload_library: Path) -> None:
    assert not list(filter(NEVER.search, defined_by(preload_library)))


@pytest.mark.parametrize("name", ["atb", "acltransformer"])
def test_the_stand_in_has_what_is_replaced_and_its_helpers_beside_it(abi: int, name: str, hosts: Hosts, preload_library: Path) -> None:
    """A typo on either side would leave a function of the one that the other does not have."""
    theirs = defined_by(hosts.standin / f"lib{name}_standin_abi{abi}.so")
    entry_points = {one for one in theirs if one.startswith(("_ZN3atb", "_ZN9atb_speed", "_ZN14AclTransformer"))}
    replaced = defined_by(preload_library) & (OF_ABI_0 | OF_ABI_1 | PLAIN)
    assert all(NEVER.search(one) for one in entry_points - replaced)
    prefixes = {"atb": ("_ZN3atb", "_ZN9atb_speed"), "acltransformer": ("_ZN14AclTransformer",)}[name]
    of_this_abi = {one for one in replaced & ((OF_ABI_1 if abi else OF_ABI_0) | PLAIN) if one.startswith(prefixes)}
    # IsSaveChild and its two siblings exist in preload libraries only.
    in_preload_only = {one for one in PLAIN if "IsSaveChild" in one or "IsSaveIntensor" in one or "IsSaveOuttensor" in one}
    assert of_this_abi - entry_points == (in_preload_only if name == "atb" else set())


def test_the_two_abi_units_share_no_weak_symbol(tmp_path: Path) -> None:
    """A class of one name and two layouts would be taken from one of them for both, and the host would crash in the other."""
    source = Path(__file__).resolve().parents[2] / "cpp" / "preload" / "hooks.cpp"
    weak = []
    for abi in (0, 1):
        unit = tmp_path / f"hooks{abi}.o"
        flags = [f"-D_GLIBCXX_USE_CXX11_ABI={abi}", "-DFASTCMP_PLAIN_HOOKS"][: 1 + abi]
        output_of(
            "g++", "-std=c++20", "-O2", "-fPIC", "-fvisibility=hidden", "-fvisibility-inlines-hidden", *flags, "-c", source, "-o", unit
        )
        weak.append({line.split()[-1] for line in output_of("nm", unit).splitlines() if line.split()[-2] in "wWvV"})
    assert weak[0] & weak[1] <= {"DW.ref.__gxx_personality_v0"}


def test_nothing_is_needed_but_the_c_library(preload_library: Path) -> None:
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", output_of("readelf", "-dW", preload_library))
    assert needed and all(re.fullmatch(r"(libc|libm|libpthread|libdl)\.so\.\d+|ld-linux.*\.so\.\d+", name) for name in needed), needed


def test_no_newer_c_library_is_needed_than_this_machine_has(preload_library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import os

    here = os.confstr("CS_GNU_LIBC_VERSION").split()[1]
    versions = re.findall(r"GLIBC_(\d+(?:\.\d+)+)", output_of("readelf", "-VW", preload_library))
    highest = max(versions, key=lambda text: [*map(int, text.split("."))])
    with capsys.disabled():
        print(f"\nlibfastcmp_preload.so needs GLIBC_{highest}; this machine has {here}")
    assert [*map(int, highest.split("."))] <= [*map(int, here.split("."))]


def test_text_is_not_writable_and_the_stack_not_executable(preload_library: Path) -> None:
    shown = output_of("readelf", "-dlW", preload_library)
    assert "TEXTREL" not in shown
    (stack,) = [line for line in shown.splitlines() if "GNU_STACK" in line]
    assert "RWE" not in stack


def test_the_name_that_users_know_is_the_same_library() -> None:
    installed = Path(library_path())
    older = Path(sysconfig.get_path("platlib")) / "msquickcmp" / "libtensorutil.so"
    assert older.read_bytes() == installed.read_bytes()
