"""The notation of how ranks divide a tensor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcmp.errors import UsageError
from fastcmp.formats.dims import Dim, Dims, Way, parse_dims


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("b s h[tp] d", Dims((Dim("b"), Dim("s"), Dim("h", (Way("tp", "part"),)), Dim("d")))),
        ("s[cp,sp]", Dims((Dim("s", (Way("cp", "part"), Way("sp", "part"))),))),
        ("s[cp:zigzag]", Dims((Dim("s", (Way("cp", "zigzag"),)),))),
        ("t d[tp:partial]", Dims((Dim("t"), Dim("d", (Way("tp", "partial"),))))),
        ("t d # tp:replicated dp:first", Dims((Dim("t"), Dim("d")), (("tp", "replicated"), ("dp", "first")))),
        ("# tp:partial", Dims((), (("tp", "partial"),))),
        ("t v[tp]=32000", Dims((Dim("t"), Dim("v", (Way("tp", "part"),), 0, 32000)))),
        ("b=1:3 1 1 (heads*width)[tp]", Dims((Dim("b", (), 1, 3), Dim("1"), Dim("1"), Dim("(heads*width)", (Way("tp", "part"),))))),
    ],
)
def test_a_notation_is_read(text: str, expected: Dims) -> None:
    assert parse_dims(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "dims '': expected one word for each axis, such as 'b s h[tp] d'"),
        ("b b", "dims 'b b': axis 'b' stands twice"),
        ("b[tp] s[tp]", "dims 'b[tp] s[tp]': way to divide 'tp' stands twice"),
        ("b[tp] # tp:replicated", "dims 'b[tp] # tp:replicated': way to divide 'tp' stands twice"),
        ("h[]", "dims 'h[]': 'h[]': expected a way to divide, such as tp, cp:zigzag or tp:partial, got ''"),
        ("h[tp", "dims 'h[tp': 'h[tp': expected a name, such as h, h[tp], s[cp:zigzag] or v[tp]=32000"),
        ("h[tp:sum]", "dims 'h[tp:sum]': 'h[tp:sum]': expected a way to divide, such as tp, cp:zigzag or tp:partial, got 'tp:sum'"),
        ("h=3:2", "dims 'h=3:2': 'h=3:2': expected positions start:stop with start below stop"),
        ("h=0", "dims 'h=0': 'h=0': expected positions start:stop with start below stop"),
        ("h # tp", "dims 'h # tp': 'tp': expected behind '#' such as tp:replicated, tp:partial or tp:first"),
        ("s[cp:zigzag,sp]", "dims 's[cp:zigzag,sp]': 's[cp:zigzag,sp]': an axis in zigzag chunks cannot be divided in another way too"),
        ("h" * 501, "dims: 501 characters, expected at most 500"),
    ],
)
def test_what_is_no_notation_is_refused_with_its_word(text: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_dims(text)
    assert str(error.value) == message


@given(st.text(alphabet="bsh[]tp:,=#0 1zigag*()", max_size=40))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        assert parse_dims(text).dims or parse_dims(text).rest
    except UsageError as error:
        assert "\n" not in str(error)
