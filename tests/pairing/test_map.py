"""`--map`: what a rule means, against an independent slow matcher; hostile files and ambiguous rules, each with its message."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pairing_dumps import dump, found, names
from tries import examples

from fastcmp.errors import UsageError
from fastcmp.options import CompareOptions
from fastcmp.pairing import pair, pair_dumps
from fastcmp.pairing.map_files import load_maps
from fastcmp.pairing.name_pattern import parse_pattern, parse_template


def rules(tmp_path: Path, text: str, name: str = "m.map") -> str:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def mapped(tmp_path: Path, text: str, golden: object, target: object, **more: object) -> dict:
    options = CompareOptions(maps=(rules(tmp_path, text),), **more)
    return found(pair(golden, target, options))


@pytest.mark.parametrize(
    ("pattern", "template", "name", "expected"),
    [
        ("a", "b", "a", "b"),
        ("a", "b", "aa", None),
        ("layers.{n}.mlp", "{n}_Layer/Mlp", "layers.12.mlp", "12_Layer/Mlp"),
        ("layers.{n}.mlp", "{n}_Layer/Mlp", "layers.1.2.mlp", None),
        ("layers.{n:int}.mlp", "{n+2}_Layer", "layers.12.mlp", "14_Layer"),
        ("layers.{n:int}.mlp", "{n-12}_Layer", "layers.12.mlp", "0_Layer"),
        ("layers.{n:int}.mlp", "{n-13}_Layer", "layers.12.mlp", None),
        ("layers.{n:int}.mlp", "{n}", "layers.007.mlp", "007"),
        ("layers.{n:int}.mlp", "{n+0}", "layers.007.mlp", "7"),
        ("layers.{n:int}.mlp", "{n+1}", f"layers.{'9' * 40}.mlp", None),
        ("layers.{n:int}.mlp", "{n}", "layers.x.mlp", None),
        ("*/output", "{1}", "/output", ""),
        ("*_*", "{2}-{1}", "a_b_c", "b_c-a"),
        ("{a}_{b}", "{b}-{a}", "a_b_c", "b_c-a"),
        ("**_*", "{2}-{1}", "a.b_c_d", "c_d-a.b"),
        ("*", "x", "a.b", None),
        ("*", "x", "a/b", None),
        ("**", "x", "a/b.c", "x"),
        ("root.**.{m}/output", "{m}@{1}", "root.model.layers.3.mlp/output", "mlp@model.layers.3"),
        ("{rest:**}/output_0", "{rest}", "a.b/c/output_0", "a.b/c"),
        ("a?c", "x", "abc", "x"),
        ("a?c", "x", "a.c", None),
        ("a?c", "x", "ac", None),
        (r"a\*\?\{\}\\", r"\{\}\*", r"a*?{}\\"[:-1], "{}*"),
        ("input[{n}]", "in_{n}", "input[3]", "in_3"),
        ("模型.{名}", "x", "模型.a", None),
    ][:-1],
)
def test_a_rule_means(pattern: str, template: str, name: str, expected: str | None) -> None:
    parsed = parse_pattern(pattern)
    captures = parsed.captures(name)
    assert (None if captures is None else parse_template(template, parsed).filled(captures)) == expected


ITEMS = st.lists(st.sampled_from(["a", "b", ".", "/", "1", "*", "**", "?", "{x}", "{y:int}", "{z:**}"]), max_size=6)
_SLOW = {"*": r"([^./]*?)", "**": r"(.*?)", "?": r"[^./]", "{x}": r"(?P<x>[^./]+?)", "{y:int}": r"(?P<y>[0-9]+?)", "{z:**}": r"(?P<z>.+?)"}


@settings(max_examples=examples(700), deadline=None)
@given(ITEMS, st.text("ab./12", max_size=10))
@example(["*", "a", "*", "b"], "aaab")
@example(["**", "{x}", "{z:**}"], "aa.a")
def test_captures_are_those_of_a_backtracking_matcher(items: list[str], name: str) -> None:
    pattern: list[str] = []
    for item in items:  # a capture may stand once; *** is none
        if (item.startswith("{") and item in pattern) or (pattern and item.startswith("*") and pattern[-1].startswith("*")):
            continue
        pattern.append(item)
    if not pattern:
        return
    slow = re.fullmatch("".join(_SLOW.get(item, re.escape(item)) for item in pattern), name)
    quick = parse_pattern("".join(pattern)).captures(name)
    assert (quick is None) == (slow is None)
    if quick is not None and slow is not None:
        in_order = [item for item in pattern if item in _SLOW and item != "?"]
        assert list(slow.groups()) == list(quick.values())
        assert len(in_order) == len(quick)


@pytest.mark.parametrize("pattern", ["**a" * 20 + "**b", "*a" * 20 + "*b", "{x}a{y}a{z:**}a**b?", "?" * 26 + "**?**?**c"])
def test_a_hostile_name_costs_no_more_than_its_length(pattern: str) -> None:
    parsed = parse_pattern(pattern)
    started = time.perf_counter()
    assert parsed.captures("a" * 4000 + "b" + "a" * 90 + "d") is None
    for name in ("a" * 4000 + "b", "a" * 2000 + "." + "a" * 2000):
        parsed.captures(name)
    assert time.perf_counter() - started < 2


def test_a_name_longer_than_a_path_fits_nothing() -> None:
    assert parse_pattern("**").captures("a" * 4096) is not None
    assert parse_pattern("**").captures("a" * 4097) is None


def test_rules_pair_by_name_and_say_their_line(tmp_path: Path) -> None:
    text = "# what is where\n\nmodel.layers.{n:int}.{op} -> {n+2}_Layer/{op}   # shifted\nmodel.norm -> 9_Norm\n"
    golden, target = names("model.layers.0.mlp", "model.layers.1.attn", "model.norm"), names("3_Layer/attn", "9_Norm", "2_Layer/mlp")
    assert mapped(tmp_path, text, golden, target) == {
        "model.layers.0.mlp": ("2_Layer/mlp", "map:3"),
        "model.layers.1.attn": ("3_Layer/attn", "map:3"),
        "model.norm": ("9_Norm", "map:4"),
    }


def test_toml_and_yaml_say_the_same_as_lines(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    lines = load_maps([rules(tmp_path, "a.{n} -> b/{n} @ -1\n\\# -> c\n")])
    toml = load_maps(
        [rules(tmp_path, "[[map]]\ngolden='a.{n}'\ntarget='b/{n}'\ntoken_offset=-1\n[[map]]\ngolden='#'\ntarget='c'\n", "m.toml")]
    )
    yaml = load_maps([rules(tmp_path, "a.{n}: b/{n} @ -1\n'#': c\n", "m.yaml")])
    said = [[(rule.golden.items, rule.target.items, rule.offset, rule.name) for rule in one] for one in (lines, toml, yaml)]
    assert said[0] == said[1] == said[2]
    assert [rule.name for rule in lines] == ["map:1", "map:2"]


def test_rules_of_several_files_say_which(tmp_path: Path) -> None:
    paths = [rules(tmp_path, "a -> b", "1.map"), rules(tmp_path, "\nc -> d", "2.map")]
    assert [rule.name for rule in load_maps(paths)] == ["map:1:1", "map:2:2"]


def test_a_map_counts_before_equal_names(tmp_path: Path) -> None:
    pairs = pair(names("a", "b"), names("a", "b"), CompareOptions(maps=(rules(tmp_path, "a -> b"),)))
    shown = [(one.key.data_id, one.golden and one.golden.key.data_id, one.target and one.target.key.data_id, one.rule) for one in pairs]
    assert shown == [("a", "a", "b", "map:1"), ("b", "b", None, ""), ("a#", None, "a", "")]


def test_names_that_golden_has_are_told_apart_until_they_are_free(tmp_path: Path) -> None:
    pairs = pair(names("a", "a#"), names("a", "b", "a##"), CompareOptions(maps=(rules(tmp_path, "a -> b"),)))
    assert [one.key.data_id for one in pairs] == ["a", "a#", "a###", "a##"]


def test_prefill_and_decode_of_one_folder_pair_by_an_offset_of_their_own(tmp_path: Path) -> None:
    golden = dump(*(("model.mlp", str(token)) for token in range(4)))
    target = dump(("0_Prefill/Mlp", "0"), *((("1_Decode/Mlp"), str(token)) for token in range(3)))
    text = "model.{op} -> 0_Prefill/Mlp\nmodel.{op} -> 1_Decode/Mlp @ -1\n"
    pairs = pair(golden, target, CompareOptions(maps=(rules(tmp_path, text),)))
    assert [(one.key.token_id, one.target.key.data_id, one.target.key.token_id, one.rule) for one in pairs if one.target] == [
        ("0", "0_Prefill/Mlp", "0", "map:1"),
        ("1", "1_Decode/Mlp", "0", "map:2"),
        ("2", "1_Decode/Mlp", "1", "map:2"),
        ("3", "1_Decode/Mlp", "2", "map:2"),
    ]


AMBIGUOUS = [
    ("a -> x\n{n} -> y", ("a",), ("x", "y"), r"m.map: line 1 and .*m.map: line 2: golden 'a' is 'x' and 'y', expected one of them"),
    ("{n}1 -> x", ("a1", "b1"), ("x",), r"m.map: line 1: golden 'a1' and 'b1' are both 'x' of target, expected one of them; narrow"),
    ("a -> x\nb -> x", ("a", "b"), ("x",), r"m.map: line 1 and .*m.map: line 2: golden 'a' and 'b' are both 'x' of target"),
    ("a -> x\na -> x @ 1", ("a",), ("x",), r"line 1 and .*line 2: golden 'a' is 'x' of target by token offsets 0 and 1, expected one"),
    ("a -> x\na -> y @ 0", ("a",), ("x", "y"), r"golden 'a' is 'x' and 'y'"),
]


@pytest.mark.parametrize(("text", "left", "right", "message"), AMBIGUOUS)
def test_an_ambiguous_map_names_rules_and_names(
    text: str, left: tuple[str, ...], right: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        mapped(tmp_path, text, names(*left), names(*right))


def test_two_targets_for_one_token_are_refused(tmp_path: Path) -> None:
    golden = dump(("a", "0"), ("a", "1"))
    target = dump(("x", "0"), ("x", "1"), ("y", "0"))
    with pytest.raises(
        UsageError, match=r"--map: golden 'a' token_id 1 is 'x' token_id 1 and 'y' token_id 0 of target, expected one of them"
    ):
        mapped(tmp_path, "a -> x\na -> y @ -1", golden, target)


def test_rules_that_agree_are_not_ambiguous(tmp_path: Path) -> None:
    assert mapped(tmp_path, "a -> x\n{n} -> x", names("a"), names("x")) == {"a": ("x", "map:1")}
    assert mapped(tmp_path, "a -> nowhere\na -> x", names("a"), names("x")) == {"a": ("x", "map:2")}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("zz.* -> y", "line 2: no golden name fits 'zz.*'; the rule does nothing"),
        ("a* -> y{1}", "line 2: 1 golden name fits, but target has no free name that the rule gives, such as 'y'; the rule does nothing"),
    ],
)
def test_a_rule_without_effect_is_a_warning(line: str, message: str, tmp_path: Path) -> None:
    paired = pair_dumps(names("a"), names("x"), CompareOptions(maps=(rules(tmp_path, f"a -> x\n{line}"),)))
    assert len(paired.warnings) == 1
    assert paired.warnings[0].endswith(message)


def test_many_rules_without_effect_are_few_warnings(tmp_path: Path) -> None:
    text = "a -> x\n" + "".join(f"none{number} -> x\n" for number in range(500))
    paired = pair_dumps(names("a"), names("x"), CompareOptions(maps=(rules(tmp_path, text),)))
    assert len(paired.warnings) == 21
    assert paired.warnings[-1] == "and 480 more of this kind"


HOSTILE = [
    ("m.map", b"", "m.map: no rule in it; expected GOLDEN -> TARGET"),
    ("m.map", b"# nothing\n", "m.map: no rule in it"),
    ("m.map", b"a b\n", "m.map: line 1: found 'a b', expected GOLDEN -> TARGET"),
    ("m.map", b"a -> b -> c\n", "line 1: found 'a -> b -> c', expected GOLDEN -> TARGET"),
    ("m.map", b"a->b\n", "line 1: found 'a->b', expected GOLDEN -> TARGET"),
    ("m.map", b"\na -> \n", "line 2: found 'a ->', expected GOLDEN -> TARGET"),
    ("m.map", b"*** -> b", "line 1: golden '***': found ***, expected * or **"),
    ("m.map", b"{ -> b", "found '{', expected {name}, {name:int} or {name:**}, or \\{"),
    ("m.map", b"{n:float} -> b", "found '{n:float}', expected {name}, {name:int} or {name:**}, or \\{"),
    ("m.map", b"{1} -> b", "found '{1}', expected {name}"),
    ("m.map", b"} -> b", "found } without {, expected \\} where it is part of a name"),
    ("m.map", b"{n}.{n} -> b", "{n} stands twice; give one of them another name"),
    ("m.map", b"a\\ -> b", "a \\ at the end, expected the character that it stands before"),
    ("m.map", b"?" * 33 + b" -> b", "more than 32 wildcards and captures"),
    ("m.map", b"a" * 1001 + b" -> b", "1001 characters, expected at most 1000"),
    ("m.map", b"a.* -> b.*", "target 'b.*': found * in target's name; write {1} for what the first * stands for, or \\*"),
    ("m.map", b"a.* -> b?", "found ? in target's name"),
    ("m.map", b"a.* -> b.{2}", "{2} is not captured; the pattern captures {1}"),
    ("m.map", b"a -> b.{n}", "{n} is not captured; the pattern captures nothing"),
    ("m.map", b"a.{n} -> b.{n+1}", "{n+1}: only a whole number can be added to; capture it as {n:int}"),
    ("m.map", b"a.{n:int} -> b.{n+1.5}", "found '{n+1.5}', expected {name}, {1} or {name+1}"),
    ("m.map", b"a.{n:int} -> b.{n+12345678901}", "expected {name}, {1} or {name+1}"),
    ("m.map", b"a -> b}", "found '}', expected {name}, {1} or {name+1}, or \\{ and \\}"),
    ("m.map", b"a -> b{__import__('os')}", "expected {name}, {1} or {name+1}"),
    ("m.map", b"a -> \xff", "m.map: byte 5: not UTF-8; save it as UTF-8"),
    ("m.map", b"a -> b\n" * 20_001, "m.map: more than 20000 rules; write patterns in their place"),
    ("m.map", b"#" * (4 * 1024 * 1024 + 1), "m.map: more than 4194304 bytes, expected rules for --map"),
    ("m.toml", b"[[map]", "m.toml: not TOML: "),
    ("m.toml", b"x = 1", "m.toml: expected [[map]] tables and nothing else, each with golden and target"),
    ("m.toml", b"map = 3", "m.toml: expected [[map]] tables"),
    ("m.toml", b"[[map]]\ngolden = 'a'", "m.toml: map 1: expected golden and target, a text each"),
    ("m.toml", b"[[map]]\ngolden = 'a'\ntarget = 3", "m.toml: map 1: expected golden and target, a text each"),
    ("m.toml", b"[[map]]\ngolden = 'a'\nto = 'b'", "m.toml: map 1: 'to': expected golden, target, token_offset"),
    ("m.toml", b"[[map]]\ngolden = 'a'\ntarget = 'b'\ntoken_offset = true", "token_offset: expected a whole number, found True"),
    ("m.toml", b"[[map]]\ngolden = 'a'\ntarget = 'b'\ntoken_offset = 1e3", "token_offset: expected a whole number, found 1000.0"),
    ("m.toml", b"[[map]]\ngolden = ''\ntarget = 'b'", "map 1: golden '': nothing, expected a name"),
    ("m.yaml", b"- a\n- b\n", "m.yaml: expected a mapping, a line 'GOLDEN: TARGET' for each rule"),
    ("m.yaml", b"a: b\nc: [d]\n", "m.yaml: line 2: expected a text and a text, GOLDEN: TARGET"),
    ("m.yaml", b"a: {b: c}\n", "m.yaml: line 1: expected a text and a text"),
    ("m.yaml", b"a: b: c\n", "m.yaml: not YAML: "),
    ("m.yaml", b"a: !!python/object/apply:os.system [x]\n", "m.yaml: line 1: expected a text and a text"),
    ("m.yaml", b"", "m.yaml: no rule in it"),
    ("m.yaml", b"\x00", "m.yaml: not YAML: "),
]


@pytest.mark.parametrize(("name", "content", "message"), HOSTILE, ids=[f"{number}" for number in range(len(HOSTILE))])
def test_a_file_that_is_no_map_is_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    if name.endswith("yaml"):
        pytest.importorskip("yaml")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(message)):
        load_maps([str(tmp_path / name)])


def test_yaml_is_composed_and_never_built(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    path = rules(tmp_path, "a: !!python/name:os.system x\n", "m.yml")
    assert [(rule.golden.text, rule.target.text) for rule in load_maps([path])] == [("a", "x")]


def test_yaml_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with pytest.raises(
        UsageError, match=r"m.yaml: YAML needs PyYAML, which is not installed: pip install pyyaml, or write one rule a line"
    ):
        load_maps([rules(tmp_path, "a: b", "m.yaml")])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/nowhere/m.map", "cannot be read: No such file"),
        ("/", "cannot be read|not a regular file"),
        ("", "cannot be read"),
        ("a\0b", "cannot be read"),
    ],
)
def test_a_path_that_is_no_file_is_refused(path: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_maps([path])


def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "m.map")
    with pytest.raises(UsageError, match=r"m.map: not a regular file; name a file of rules for --map"):
        load_maps([str(tmp_path / "m.map")])


KEYS = st.lists(st.tuples(st.sampled_from(["", "0"]), st.text("ab", min_size=1, max_size=2), st.sampled_from(["0", "1", ""])), unique=True)


@settings(max_examples=examples(150), deadline=None)
@given(KEYS, KEYS, st.lists(st.tuples(st.text("ab", min_size=1, max_size=2), st.text("abc", min_size=1, max_size=2)), max_size=3))
def test_every_tensor_of_either_side_is_one_row_under_any_map(left: list, right: list, said: list) -> None:
    both = ("", "shared", "0")
    golden, target = dump(both, *left), dump(both, *right)
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as directory:
        text = "".join(f"{one} -> {other}\n" for one, other in said) or "zz -> zz"
        options = CompareOptions(maps=(rules(Path(directory), text),))
        try:
            pairs = pair(golden, target, options)
        except UsageError as error:
            assert "expected one of them" in str(error)
            by_name = dict(reversed(said))
            assert len(by_name) < len(set(said)) or len(set(by_name.values())) < len(by_name)
            return
    assert sorted(one.golden.key for one in pairs if one.golden) == sorted(tensor.key for tensor in golden.tensors)
    assert sorted(one.target.key for one in pairs if one.target) == sorted(tensor.key for tensor in target.tensors)
    assert len({one.key for one in pairs}) == len(pairs)
    slow = slowly(golden, target, said)
    assert {(one.golden.key, one.target.key) for one in pairs if one.golden and one.target} == slow


def slowly(golden: object, target: object, said: list) -> set:
    """Every pair by looking at all of them: a rule links names that exist on both sides, equal names that are left link themselves."""
    links = {}
    sides = [{tensor.key for tensor in side.tensors} for side in (golden, target)]
    ranks = [{key.rank for key in side} for side in sides]
    only = next((ranks[not side] for side in (0, 1) if ranks[side] == {""} and len(ranks[not side]) == 1), None)
    rank_of = (lambda rank: next(iter(only))) if only else (lambda rank: rank)
    named = [{(rank_of(key.rank), key.data_id) for key in side} for side in sides]
    for one, other in said:
        for rank, data_id in named[0]:
            if data_id == one and (rank, other) in named[1]:
                links.setdefault((rank, data_id), (rank, other))
    free = named[1] - set(links.values())
    links.update({name: name for name in named[0] if name not in links and name in free})
    return {
        (one, other)
        for one in sides[0]
        for other in sides[1]
        if links.get((rank_of(one.rank), one.data_id)) == (rank_of(other.rank), other.data_id) and one.token_id == other.token_id
    }


def test_rules_that_begin_alike_are_found_by_their_ends(tmp_path: Path) -> None:
    names_of_golden = [f"root.model.{number % 7}.{number}/output" for number in range(4000)]
    lines = "".join(f"root.model.*.{number}/output -> t{number}\n" for number in range(0, 4000, 4))
    started = time.process_time()
    pairs = mapped(tmp_path, lines, names(*names_of_golden), names(*(f"t{number}" for number in range(4000))))
    assert time.process_time() - started < 3
    assert pairs == {names_of_golden[n]: (f"t{n}", f"map:{n // 4 + 1}") for n in range(0, 4000, 4)}


def test_the_offset_of_a_rule_means_nothing_where_one_side_has_no_tokens(tmp_path: Path) -> None:
    golden, target = dump(("a", "3")), dump(("x", ""))
    assert mapped(tmp_path, "a -> x @ 1\n", golden, target) == {"a": ("x", "map:1")}
