"""`dump_data` as its caller sees it: files, metadata, environment, low-level paths, failures."""

from __future__ import annotations

import errno
import importlib
import json
import logging
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dump_reading import forget_session, metadata_of, saved, side_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tries import examples

from fastcmp.dump import directory, dump_counters, dump_data, side, stall
from fastcmp.dump.settings import read_settings
from fastcmp.dump_layout import read_journal
from fastcmp.errors import DumpError

ONE = np.arange(3.0)


def files_below(base: Path) -> set[str]:
    return {str(path.relative_to(base)) for path in base.rglob("*") if path.is_file()}


def test_files_and_metadata_lie_where_the_original_put_them(own_dump: Path) -> None:
    dump_data("golden", 7, ONE, token_id=2)
    pid = os.getpid()
    path = f"{pid}_cmp_dump_data/golden_tensor/2/7_tensor.npy"
    side_path = f"{pid}_cmp_dump_data/golden_tensor"
    assert files_below(own_dump) == {path, f"{side_path}/metadata.json", f"{side_path}/journal.jsonl", f"{pid}_cmp_dump_data/.lock"}
    assert metadata_of(side_of(own_dump)) == {"7": {"2": f"./{path}"}}


def test_D1_all_tokens_of_a_data_id_are_kept(own_dump: Path) -> None:
    for token in range(20):
        dump_data("golden", 5, ONE + token, token_id=token)
    assert list(metadata_of(side_of(own_dump))["5"]) == [str(token) for token in range(16)], "compacted at each of the first 16"
    assert len(read_journal(str(side_of(own_dump) / "journal.jsonl")).entries) == 20
    assert all(saved(own_dump, 5, token)[0] == token for token in range(16))


def test_where_a_side_goes_is_logged_once_for_those_who_ask(own_dump: Path, caplog: pytest.LogCaptureFixture) -> None:
    dump_data("golden", 0, ONE)
    assert caplog.messages == []
    forget_session()
    with caplog.at_level(logging.INFO, logger="fastcmp"):
        for data_id in range(2):
            dump_data("golden", data_id, ONE)
            dump_data("acl", data_id, ONE)
    place = side_of(own_dump).parent
    assert caplog.messages == [f"dump_data: {source} tensors go to {place}/{source}_tensor" for source in ("golden", "acl")]
    assert (place / "golden_tensor").is_absolute()


def test_a_key_that_is_dumped_again_is_told_once(own_dump: Path, caplog: pytest.LogCaptureFixture) -> None:
    for step in range(3):
        dump_data("golden", "layers.0", ONE)
        dump_data("golden", "layers.1", ONE)
        dump_data("acl", "layers.1", ONE, token_id=step)
    text = "dump_data: data_id 'layers.0', token_id '0' was dumped again and replaces the earlier tensor; is token_id passed?"
    assert caplog.messages == [text] and dump_counters()["replaced"] == 4


def test_D2_a_number_and_its_text_are_one_key(own_dump: Path) -> None:
    dump_data("golden", 0, ONE, token_id=1)
    dump_data("golden", "0", ONE + 1, token_id="1")
    dump_data("golden", np.int64(0), ONE + 2, token_id=np.int32(1))
    assert list(metadata_of(side_of(own_dump))) == ["0"] and saved(own_dump, 0, 1)[0] == 2
    assert dump_counters()["saved"] == 3 and dump_counters()["replaced"] == 2


def test_both_sides_may_be_dumped_by_one_process(own_dump: Path) -> None:
    dump_data("golden", 0, ONE)
    dump_data("acl", 0, ONE + 1)
    assert saved(own_dump, data_src="golden")[0] == 0 and saved(own_dump, data_src="acl")[0] == 1


def test_D5_an_unknown_source_is_told_once_and_counted(own_dump: Path, caplog: pytest.LogCaptureFixture) -> None:
    for source in ("target", "Golden", None, []):
        dump_data(source, 0, ONE)
    assert [record.getMessage() for record in caplog.records] == [
        "dump_data: data_src: found 'target', expected 'golden' or 'acl'; counted from now on"
    ]
    assert dump_counters()["unknown_source"] == 4 and files_below(own_dump) == set()


ANY_TEXT = st.text(alphabet=st.characters(codec=None, categories=None), max_size=300)


@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data_id=ANY_TEXT, token_id=ANY_TEXT)
def test_D6_any_text_is_an_id_and_stays_inside_the_dump(own_dump: Path, data_id: str, token_id: str) -> None:
    before = dump_counters()["saved"]
    dump_data("golden", data_id, ONE, token_id=token_id)
    assert dump_counters()["saved"] == before + 1
    entry = read_journal(str(side_of(own_dump) / "journal.jsonl")).entries[-1]
    assert (entry.data_id, entry.token_id) == (data_id, token_id)
    real = (own_dump / entry.path).resolve(strict=True)
    assert real.parent.parent == side_of(own_dump).resolve() and np.array_equal(np.load(real), ONE)


@pytest.mark.parametrize("token_id", ["metadata.json", "journal.jsonl", "..", ".lock", "/etc"])
def test_D6_a_token_cannot_take_the_place_of_our_files(own_dump: Path, token_id: str) -> None:
    dump_data("golden", 0, ONE, token_id=token_id)
    assert np.array_equal(saved(own_dump, 0, token_id), ONE)


def test_D6_the_dump_goes_on_in_one_place_after_chdir(own_dump: Path) -> None:
    dump_data("golden", 0, ONE)
    (own_dump / "elsewhere").mkdir()
    os.chdir(own_dump / "elsewhere")
    dump_data("golden", 1, ONE)
    dump_data("acl", 1, ONE)
    assert list(metadata_of(side_of(own_dump))) == ["0", "1"] and list((own_dump / "elsewhere").iterdir()) == []
    header = read_journal(str(side_of(own_dump) / "journal.jsonl")).header
    assert header is not None and header.cwd == str(own_dump)


def test_the_dump_goes_on_when_its_directory_is_moved_or_a_token_tidied_away(own_dump: Path) -> None:
    dump_data("golden", 0, ONE)
    for path in (side_of(own_dump) / "0").iterdir():
        path.unlink()
    (side_of(own_dump) / "0").rmdir()
    dump_data("golden", 1, ONE)
    os.rename(own_dump / f"{os.getpid()}_cmp_dump_data", own_dump / "moved")
    dump_data("golden", 2, ONE)
    assert {path.name for path in (own_dump / "moved/golden_tensor/0").iterdir()} == {"1_tensor.npy", "2_tensor.npy"}


# --- environment -----------------------------------------------------------------------------------------------------------------------


def test_FASTCMP_DUMP_0_switches_it_off(own_dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCMP_DUMP", "0")
    dump_data("golden", 0, ONE)
    dump_data("nonsense", 0, [])
    assert list(own_dump.iterdir()) == [] and sum(dump_counters().values()) == 0


def test_FASTCMP_DUMP_DIR_is_made_and_used(own_dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCMP_DUMP_DIR", "a/b")
    dump_data("golden", 0, ONE)
    assert np.array_equal(saved(own_dump / "a/b"), ONE)


def test_FASTCMP_DUMP_TOKENS_limits_the_tokens(own_dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCMP_DUMP_TOKENS", "0, 3-5,last")
    for token in (*range(8), "last", "first", "٣"):
        dump_data("golden", 0, ONE, token_id=token)
    assert list(metadata_of(side_of(own_dump))["0"]) == ["0", "3", "4", "5", "last"]
    assert dump_counters()["skipped"] == 6


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("FASTCMP_DUMP_TOKENS", "5-3", "found '5-3', expected a range that ascends"),
        ("FASTCMP_MAX_STALL_S", "soon", "found 'soon', expected seconds, 0 or more; 30 is used"),
        ("FASTCMP_MAX_STALL_S", "-1", "found '-1', expected seconds, 0 or more; 30 is used"),
        ("FASTCMP_MAX_STALL_S", "nan", "found 'nan', expected seconds, 0 or more; 30 is used"),
        ("FASTCMP_DUMP_LIMIT", "much", "found 'much', expected bytes such as 500M or 2GiB; there is no limit"),
        ("FASTCMP_DUMP_LIMIT", "-1", "found '-1', expected bytes such as 500M or 2GiB; there is no limit"),
    ],
)
def test_a_setting_that_is_not_understood_is_told(
    name: str, value: str, text: str, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    monkeypatch.setenv(name, value)
    dump_data("golden", 0, ONE)
    assert f"{name}: {text}" in caplog.text


def test_settings_are_read_from_the_environment() -> None:
    assert read_settings({}).is_on and not read_settings({}).is_strict and read_settings({}).max_stall_s == 30
    assert read_settings({"FASTCMP_MAX_STALL_S": "0"}).max_stall_s == float("inf")
    assert read_settings({"FASTCMP_STRICT": "1"}).is_strict and not read_settings({"FASTCMP_STRICT": "0"}).is_strict


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("", None),
        ("  ", None),
        ("0", 0),
        ("4096", 4096),
        ("10b", 10),
        ("3K", 3000),
        ("3kb", 3000),
        ("2 GiB", 2 << 30),
        ("1mi", 1 << 20),
        ("5T", 5 * 10**12),
        ("1Ti", 1 << 40),
        (" 7G ", 7 * 10**9),
        ("1.5G", None),
        ("GiB", None),
        ("1Bi", None),
        ("1 0", None),
        ("٣", None),
        ("9" * 5000, None),
    ],
)
def test_a_limit_is_a_whole_number_with_a_suffix(text: str, limit: int | None) -> None:
    read = read_settings({"FASTCMP_DUMP_LIMIT": text})
    assert read.limit_bytes == limit and bool(read.problems) == (limit is None and text.strip() != "")


def test_FASTCMP_DUMP_LIMIT_ends_the_dump_and_says_where(
    own_dump: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FASTCMP_DUMP_LIMIT", "100")
    monkeypatch.setenv("FASTCMP_STRICT", "1")
    for token in range(3):
        dump_data("golden", 0, ONE, token_id=token)
    dump_data("golden", 1, np.zeros(10))
    dump_data("golden", 2, np.zeros(1, "u1"))
    dump_data("golden", 3, tensor_path=TENSOR_PATH)
    counters = dump_counters()
    assert (counters["saved"], counters["tensor_bytes"], counters["over_limit"], counters["registered"]) == (3, 72, 2, 1)
    assert [message for message in caplog.messages if message.startswith("dump_data: FASTCMP_DUMP_LIMIT")] == [
        "dump_data: FASTCMP_DUMP_LIMIT: data_id '1', token_id '0' would pass 100 bytes: it is not saved, nor is any tensor after it"
    ]
    assert list(metadata_of(side_of(own_dump))) == ["0", "3"]


def test_a_tensor_that_could_not_be_written_takes_no_room(own_dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCMP_DUMP_LIMIT", "24")
    with monkeypatch.context() as patch:
        patch.setattr(directory.os, "mkdir", lambda *arguments, **keywords: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        dump_data("golden", 0, ONE)
    dump_data("golden", 1, ONE)
    assert dump_counters()["saved"] == 1 and dump_counters()["over_limit"] == 0


def test_threads_share_one_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCMP_DUMP_LIMIT", "240")
    threads = [
        threading.Thread(target=lambda number=number: [dump_data("golden", number, ONE, token_id=t) for t in range(8)])
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dump_counters()["saved"] == 10 and dump_counters()["over_limit"] == 22


def test_RANK_is_recorded(own_dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    dump_data("golden", 0, ONE)
    header = read_journal(str(side_of(own_dump) / "journal.jsonl")).header
    assert header is not None and (header.rank, header.pid, header.data_src) == ("3", os.getpid(), "golden")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("acll", 0, ONE), "data_src: found 'acll', expected 'golden' or 'acl'"),
        (("golden", 0, "text"), "data_id '0', token_id '0': found a str, expected a torch tensor"),
        (("acl", 0, None, "../x"), "tensor_path: found '../x', expected a path below the token's directory"),
    ],
)
def test_FASTCMP_STRICT_raises_what_else_is_counted(monkeypatch: pytest.MonkeyPatch, arguments: Any, message: str) -> None:
    monkeypatch.setenv("FASTCMP_STRICT", "1")
    with pytest.raises(DumpError, match=message):
        dump_data(*arguments)


# --- low level -------------------------------------------------------------------------------------------------------------------------

TENSOR_PATH = "0_Model/3_Layer/6_NormOpsRunner/after/outTensor0.bin"


def allow_list(base: Path) -> Path:
    return base / f"{os.getpid()}_cmp_dump_data" / "allow_list" / "paths.txt"


def test_a_tensor_path_is_recorded_and_allowed(own_dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACLTRANSFORMER_HOME_PATH", "/opt/acl/")
    dump_data("acl", 0, tensor_path=TENSOR_PATH, token_id=4)
    dump_data("acl", 1, tensor_path=TENSOR_PATH, token_id=5)
    assert metadata_of(side_of(own_dump, "acl"))["0"] == {"4": f"/opt/acl/tensors/thread_{os.getpid()}/4/{TENSOR_PATH}"}
    assert allow_list(own_dump).read_text() == f"4/{TENSOR_PATH}\n5/{TENSOR_PATH}\n"
    assert dump_counters()["registered"] == 2
    assert stat.S_IMODE(allow_list(own_dump).parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(allow_list(own_dump).stat().st_mode) == 0o600


def test_D20_low_level_registration_makes_no_token_directory(own_dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACLTRANSFORMER_HOME_PATH", "/opt/acl")
    dump_data("acl", 0, tensor_path=TENSOR_PATH, token_id=4)
    assert {path.name for path in side_of(own_dump, "acl").iterdir()} == {"metadata.json", "journal.jsonl"}


def test_the_allow_list_grows_with_every_token(own_dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACLTRANSFORMER_HOME_PATH", "/opt/acl")
    inodes = set()
    for token in range(3):
        dump_data("acl", token, tensor_path=TENSOR_PATH, token_id=token)
        inodes.add(allow_list(own_dump).stat().st_ino)
        assert allow_list(own_dump).read_text().endswith(f"{token}/{TENSOR_PATH}\n")
    assert len(inodes) == 1, "a reader that follows the file sees later tokens"


def test_D5_without_a_library_one_line_says_so_and_the_path_starts_at_the_dump(own_dump: Path, caplog: pytest.LogCaptureFixture) -> None:
    dump_data("acl", 0, tensor_path=TENSOR_PATH)
    dump_data("acl", 1, tensor_path=TENSOR_PATH)
    assert metadata_of(side_of(own_dump, "acl"))["0"] == {"0": f"./tensors/thread_{os.getpid()}/0/{TENSOR_PATH}"}
    assert len(caplog.messages) == 1 and "the preload library is not in this process: start it by `fastcmp run -- ...`" in caplog.text
    assert f"in {own_dump}/tensors/thread_{os.getpid()}, as ACLTRANSFORMER_HOME_PATH is not set" in caplog.text


@pytest.mark.parametrize("written", ["./{}", "{}/", ".//{}", "././{}/."])
def test_a_tensor_path_is_registered_as_the_library_spells_it(own_dump: Path, written: str) -> None:
    dump_data("acl", 0, tensor_path=written.format(TENSOR_PATH.replace("/", "/.//")))
    assert allow_list(own_dump).read_text() == f"0/{TENSOR_PATH}\n"
    assert metadata_of(side_of(own_dump, "acl"))["0"] == {"0": f"./tensors/thread_{os.getpid()}/0/{TENSOR_PATH}"}


def test_D19_a_brace_in_tensor_path_is_told(own_dump: Path, caplog: pytest.LogCaptureFixture) -> None:
    dump_data("acl", 0, tensor_path="0_Model/{i}_Layer/outTensor0.bin")
    assert "found a brace in '0_Model/{i}_Layer/outTensor0.bin'; was the f of f'...' forgotten?" in caplog.text
    assert "It is taken as it stands; '*' would stand for every layer" in caplog.text
    assert dump_counters()["registered"] == 1


def test_a_path_in_a_message_is_whole(own_dump: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = "0_Qwen2ForCausalLM/{i}_DecoderLayerOperation/12_RmsNormOperationRunner/after/outTensor0.bin"
    dump_data("acl", 0, tensor_path=path)
    assert f"found a brace in {path!r};" in caplog.text
    dump_data("acl", "x" * 1000, [])
    assert f"data_id {'x' * 160!r}..., token_id '0': found a list" in caplog.text


def test_a_star_as_the_token_of_a_value_is_told_once(own_dump: Path, caplog: pytest.LogCaptureFixture) -> None:
    for data_id in range(2):
        dump_data("golden", data_id, ONE, token_id="*")
    text = "is a token of that name; a star stands for every token only where there is a tensor_path and no data_val"
    assert caplog.messages == [f"dump_data: data_id '0', token_id '*': {text}"]
    assert list(metadata_of(side_of(own_dump))["1"]) == ["*"]


PATTERN = "0_Model/*_Layer/6_NormOpsRunner/after/outTensor0.bin"


def test_a_star_is_registered_as_it_stands(own_dump: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("ACLTRANSFORMER_HOME_PATH", "/opt/acl")
    dump_data("acl", "norm", tensor_path=PATTERN, token_id=4)
    dump_data("acl", "any", tensor_path=PATTERN, token_id="*")
    dump_data("acl", "odd", tensor_path="**/a*b/?/[0-9]/x.bin")
    assert allow_list(own_dump).read_text() == f"4/{PATTERN}\n*/{PATTERN}\n0/**/a*b/?/[0-9]/x.bin\n"
    home = f"/opt/acl/tensors/thread_{os.getpid()}"
    assert metadata_of(side_of(own_dump, "acl")) == {
        "norm": {"4": f"{home}/4/{PATTERN}"},
        "any": {"*": f"{home}/*/{PATTERN}"},
        "odd": {"0": f"{home}/0/**/a*b/?/[0-9]/x.bin"},
    }
    assert len(caplog.messages) == 1 and "preload library" in caplog.text


def test_every_token_is_never_filtered_out_of_the_list(own_dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACLTRANSFORMER_HOME_PATH", "/opt/acl")
    monkeypatch.setenv("FASTCMP_DUMP_TOKENS", "3")
    dump_data("acl", 0, tensor_path=PATTERN, token_id="*")
    dump_data("acl", 0, tensor_path=PATTERN, token_id="**")
    dump_data("acl", 1, ONE, token_id="*")
    assert allow_list(own_dump).read_text() == f"*/{PATTERN}\n" and dump_counters()["skipped"] == 2


def test_a_program_that_closed_the_list_writes_into_no_other_file(own_dump: Path) -> None:
    dump_data("acl", 0, tensor_path=TENSOR_PATH)
    from fastcmp.dump import session

    assert session._session is not None
    (descriptor,) = session._session._low_level.descriptors
    victim = own_dump / "victim"
    victim.write_text("mine")
    other = os.open(victim, os.O_RDWR | os.O_APPEND)
    os.dup2(other, descriptor)
    dump_data("acl", 1, tensor_path=TENSOR_PATH)
    assert victim.read_text() == "mine" and dump_counters()["write_failed"] == 1
    os.close(other)


@pytest.mark.parametrize("path", ["../x.bin", "a/../../x.bin", "/etc/passwd", "", ".", "./", "a\nb", "a\x00b", 7])
def test_D6_a_tensor_path_that_leaves_its_place_is_refused(own_dump: Path, path: Any, caplog: pytest.LogCaptureFixture) -> None:
    dump_data("acl", 0, tensor_path=path)
    assert dump_counters()["bad_tensor_path"] == 1 and not side_of(own_dump, "acl").exists()
    assert allow_list(own_dump).read_text() == ""
    assert "tensor_path: found" in caplog.text


def test_a_value_beside_a_tensor_path_is_saved(own_dump: Path, caplog: pytest.LogCaptureFixture) -> None:
    dump_data("acl", 0, ONE, tensor_path=TENSOR_PATH)
    assert np.array_equal(saved(own_dump, data_src="acl"), ONE)
    assert "found data_val and tensor_path; data_val is saved" in caplog.text


# --- safety ----------------------------------------------------------------------------------------------------------------------------


def test_an_earlier_dump_of_the_same_pid_is_set_aside(own_dump: Path) -> None:
    for run in range(2):
        old = own_dump / f"{os.getpid()}_cmp_dump_data.earlier-{run}"
        old = own_dump / f"{os.getpid()}_cmp_dump_data" if run == 0 else old
        (old / "golden_tensor").mkdir(parents=True)
        (old / "golden_tensor/metadata.json").write_text('{"old": {}}')
    dump_data("golden", 0, ONE)
    assert list(metadata_of(side_of(own_dump))) == ["0"]
    aside = own_dump / f"{os.getpid()}_cmp_dump_data.earlier-2"
    assert (aside / "golden_tensor/metadata.json").read_text() == '{"old": {}}'


def test_a_live_process_of_the_same_pid_keeps_its_directory(own_dump: Path) -> None:
    other = directory.claim(str(own_dump), os.getpid())
    dump_data("golden", 0, ONE)
    assert other.name == f"{os.getpid()}_cmp_dump_data"
    assert files_below(own_dump / other.name) == {".lock"}
    name = f"{os.getpid()}-1_cmp_dump_data"
    assert metadata_of(own_dump / name / "golden_tensor") == {"0": {"0": f"./{name}/golden_tensor/0/0_tensor.npy"}}
    os.close(other.descriptor)
    os.close(other.lock)


@pytest.mark.parametrize("kind", ["link", "dangling", "file"])
def test_links_are_not_followed_when_writing(own_dump: Path, kind: str) -> None:
    outside = own_dump / "outside"
    outside.mkdir()
    trap = own_dump / f"{os.getpid()}_cmp_dump_data"
    if kind == "file":
        trap.write_text("mine")
    else:
        trap.symlink_to(outside if kind == "link" else own_dump / "nowhere")
    dump_data("golden", 0, ONE)
    assert np.array_equal(saved(own_dump), ONE) and list(outside.iterdir()) == [] and not trap.is_symlink()


def test_a_planted_link_in_the_token_directory_is_replaced_not_followed(own_dump: Path) -> None:
    dump_data("golden", 0, ONE)
    victim = own_dump / "victim"
    victim.write_text("mine")
    (side_of(own_dump) / "0/1_tensor.npy").symlink_to(victim)
    dump_data("golden", 1, ONE)
    assert victim.read_text() == "mine" and np.array_equal(saved(own_dump, 1), ONE)


def test_nothing_that_others_may_write_is_made(own_dump: Path) -> None:
    before = os.umask(0)
    try:
        dump_data("golden", 0, ONE)
        dump_data("acl", 0, tensor_path=TENSOR_PATH)
    finally:
        os.umask(before)
    below = own_dump / f"{os.getpid()}_cmp_dump_data"
    assert [str(path) for path in (below, *below.rglob("*")) if path.stat().st_mode & 0o022] == []


def test_a_descriptor_that_the_program_reused_is_not_written_to(own_dump: Path) -> None:
    dump_data("golden", 0, ONE)
    from fastcmp.dump import session

    assert session._session is not None
    _, journal = session._session._sides["golden"].descriptors
    victim = own_dump / "victim"
    victim.write_text("mine")
    other = os.open(victim, os.O_RDWR | os.O_APPEND)
    os.dup2(other, journal)
    dump_data("golden", 1, ONE)
    assert victim.read_text() == "mine" and dump_counters()["write_failed"] == 1
    os.close(other)


def test_an_unwritable_directory_is_told_and_the_dump_recovers(own_dump: Path, monkeypatch: Any, caplog: pytest.LogCaptureFixture) -> None:
    def full(*arguments: Any, **keywords: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(directory.os, "mkdir", full)
        for token in range(3):
            dump_data("golden", 0, ONE, token_id=token)
    dump_data("golden", 1, ONE)
    assert dump_counters()["write_failed"] == 3 and caplog.text.count("No space left on device") == 1
    assert np.array_equal(saved(own_dump, 1), ONE)


def test_a_disk_that_was_full_from_the_start_is_the_one_cause_and_may_have_room_later(own_dump: Path) -> None:
    code = """
import os, resource, signal, numpy as np
from fastcmp.dump import dump_data, dump_counters
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
for room in (0, 20, hard):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    for token in range(2):
        dump_data("golden", 0, np.zeros(10), token_id=token)
print(os.getpid(), dump_counters()["write_failed"])
"""
    done = run_python(code, own_dump)
    pid, failed = done.stdout.split()
    assert failed == "4" and list(metadata_of(side_of(own_dump, pid=int(pid)))["0"]) == ["0", "1"]
    assert "File too large" in done.stderr and "File exists" not in done.stderr


def test_a_tensor_that_does_not_fit_leaves_nothing_behind(own_dump: Path) -> None:
    """A child with a file size limit, as a full disk would do it."""
    code = """
import os, resource, signal, numpy as np
from fastcmp.dump import dump_data, dump_counters
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
dump_data("golden", 0, np.zeros(10))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
dump_data("golden", 1, np.zeros(10000))
dump_data("golden", 2, np.zeros(10))
print(os.getpid(), dump_counters()["write_failed"])
"""
    done = run_python(code, own_dump)
    pid, failed = done.stdout.split()
    side_path = side_of(own_dump, pid=int(pid))
    assert failed == "1" and list(metadata_of(side_path)) == ["0", "2"]
    assert {path.name for path in (side_path / "0").iterdir()} == {"0_tensor.npy", "2_tensor.npy"}
    assert "not saved: 1 write failed" in done.stderr


@pytest.mark.parametrize("cut_at", [0, 1, 40])
def test_a_journal_line_that_does_not_fit_is_taken_back(own_dump: Path, monkeypatch: pytest.MonkeyPatch, cut_at: int) -> None:
    dump_data("golden", 0, ONE)
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(side.os, "write", lambda file, data: real(file, data[:cut_at]))
        dump_data("golden", 1, ONE)
    dump_data("golden", 2, ONE)
    journal = read_journal(str(side_of(own_dump) / "journal.jsonl"))
    assert [entry.data_id for entry in journal.entries] == ["0", "2"] and journal.rejected_count == 0
    assert dump_counters()["write_failed"] == 1


def test_metadata_that_cannot_be_made_anew_costs_no_tensor(own_dump: Path, monkeypatch: Any, caplog: pytest.LogCaptureFixture) -> None:
    dump_data("golden", 0, ONE)
    with monkeypatch.context() as patch:
        patch.setattr(side.json, "dumps", lambda value: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
        dump_data("golden", 1, ONE)
    assert list(metadata_of(side_of(own_dump))) == ["0"] and dump_counters()["saved"] == 2
    assert "no tensor is lost, the journal beside it has them" in caplog.text
    dump_data("golden", 2, ONE)
    assert list(metadata_of(side_of(own_dump))) == ["0", "1", "2"] and not list(side_of(own_dump).glob("*.tmp"))


def test_an_unforeseen_error_does_not_reach_the_caller(own_dump: Path, monkeypatch: Any, caplog: pytest.LogCaptureFixture) -> None:
    class BadId:
        def __str__(self) -> str:
            raise ZeroDivisionError("unforeseen")

    dump_data("golden", BadId(), ONE)
    assert dump_counters()["write_failed"] == 1 and "ZeroDivisionError" in caplog.text
    monkeypatch.setattr(logging.getLogger("fastcmp"), "warning", lambda *arguments: 1 / 0)
    dump_data("unknown", 0, ONE)
    assert dump_counters()["unknown_source"] == 1


def test_a_value_that_cannot_even_be_shown_does_not_reach_the_caller(own_dump: Path) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise self

        __repr__ = __str__

    class MuteId:
        def __str__(self) -> str:
            raise Mute

    dump_data("golden", MuteId(), ONE)
    dump_data(Mute(), 0, ONE)
    assert dump_counters()["write_failed"] == 1 and dump_counters()["unknown_source"] == 1


def test_a_numpy_that_cannot_be_imported_does_not_reach_the_caller(own_dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise RuntimeError("built for another machine")

    monkeypatch.setattr(importlib, "import_module", fail)
    dump_data("golden", 0)
    assert dump_counters()["unsupported_value"] == 1


# --- a stalled disk --------------------------------------------------------------------------------------------------------------------


def test_a_stalled_write_is_left_behind_and_its_file_never_appears(own_dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCMP_MAX_STALL_S", "0.2")
    monkeypatch.setattr(stall, "HANDED_OVER_BYTES", 1)
    dump_data("golden", 0, ONE)
    wait, real = threading.Event(), side.write_npy

    def stalled(*arguments: Any) -> int:
        wait.wait(20)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(side, "write_npy", stalled)
        begin_s = time.monotonic()
        dump_data("golden", 1, ONE)
        assert 0.2 <= time.monotonic() - begin_s < 10
        begin_s = time.monotonic()
        dump_data("golden", 2, ONE)
        assert time.monotonic() - begin_s < 0.15, "the next is skipped without waiting"
        threads = [thread for thread in threading.enumerate() if thread.name == "fastcmp-dump-write"]
        wait.set()
        for thread in threads:
            thread.join()
    dump_data("golden", 3, ONE)
    assert list(metadata_of(side_of(own_dump))) == ["0", "3"] and dump_counters()["stalled"] == 2
    assert {path.name for path in (side_of(own_dump) / "0").iterdir()} == {"0_tensor.npy", "3_tensor.npy"}


def test_after_a_slow_write_the_next_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stall, "SLOW_STORE_S", 0.01)
    guard = stall.StallGuard(5.0)
    threads: list[str] = []
    guard.run(lambda ticket: (threads.append(threading.current_thread().name), time.sleep(0.02))[0], 10)
    guard.run(lambda ticket: threads.append(threading.current_thread().name), 10)
    guard.run(lambda ticket: threads.append(threading.current_thread().name), 10)
    assert [name == "fastcmp-dump-write" for name in threads] == [False, True, False]


def test_what_a_handed_over_store_raises_is_raised_to_its_caller() -> None:
    with pytest.raises(OSError, match="broken"):
        stall.StallGuard(5.0).run(lambda ticket: (_ for _ in ()).throw(OSError("broken")), stall.HANDED_OVER_BYTES)


def test_of_commit_and_abandon_only_the_first_succeeds() -> None:
    ticket = stall.Ticket()
    assert ticket.commit() and not ticket.abandon()
    ticket = stall.Ticket()
    assert ticket.abandon() and not ticket.commit()


# --- cost ------------------------------------------------------------------------------------------------------------------------------


def test_D3_what_is_written_beside_the_data_is_linear_in_the_calls(own_dump: Path) -> None:
    costs = []
    for count in (1000, 2000):
        code = f"""
import sys
sys.dont_write_bytecode = True
from fastcmp.dump import dump_data, session
import numpy as np
from pathlib import Path
value = np.zeros(1, np.float32)
written = lambda: int(Path("/proc/self/io").read_text().partition("wchar: ")[2].split()[0])
before = written()
for number in range({count}):
    dump_data("golden", number, value, token_id=number % 7)
session._finish()
beside = written() - before - sum(path.stat().st_size for path in Path().rglob("*.npy"))
numbers = session.dump_counters()
print(numbers["saved"], beside, numbers["compactions"], numbers["bookkeeping_bytes"])
"""
        folder = own_dump / str(count)
        folder.mkdir()
        costs.append([int(word) for word in run_python(code, folder).stdout.split()])
    (_, first_bytes, _, _), (saved_count, second_bytes, compactions, counted) = costs
    assert second_bytes == counted, "what the kernel has counted, and what is said"
    assert saved_count == 2000 and compactions <= 16 + 6
    assert second_bytes < 2.2 * first_bytes
    assert second_bytes / 2000 < 300


def test_importing_the_dump_side_imports_nothing_large(own_dump: Path) -> None:
    code = """
import sys
import fastcmp.dump
print([name for name in ("torch", "numba", "pyarrow", "numpy", "rich", "ml_dtypes") if name in sys.modules])
from msquickcmp.pta_acl_cmp.compare import dump_data
assert dump_data is fastcmp.dump.dump_data
import msquickcmp
print(getattr(msquickcmp, "__file__", None))
import numpy as np
dump_data("golden", 0, np.zeros(3))
print([name for name in ("torch", "numba", "pyarrow", "rich", "ml_dtypes") if name in sys.modules])
"""
    assert run_python(code, own_dump).stdout.split("\n")[:3] == ["[]", "None", "[]"]


def run_python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, with every Python warning an error."""
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": f"{root}:{root / 'compat'}"}
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, cwd=cwd, env=environment, check=True, capture_output=True, text=True, timeout=120)


def test_metadata_is_complete_after_a_normal_exit(own_dump: Path) -> None:
    code = """
import os, json, numpy as np
from fastcmp.dump import dump_data
for number in range(100):
    dump_data("golden", number, np.zeros(1))
dump_data("golden", 0, np.zeros(1))
dump_data("nonsense", 0, np.zeros(1))
print(os.getpid())
"""
    done = run_python(code, own_dump)
    metadata = json.loads((side_of(own_dump, pid=int(done.stdout)) / "metadata.json").read_text())
    assert list(metadata) == [str(number) for number in range(100)]
    assert done.stderr.splitlines()[-1] == "dump_data: 101 tensors saved, 0 registered, 1 replaced; not saved: 1 unknown source"
