"""Tokens where one side does not name any, as a plain directory or a file of tensors, and the other has just one."""

from __future__ import annotations

import itertools

from fastcmp.options import ROLES
from fastcmp.pairing.token_shift import shifted
from fastcmp.sources.named_tensor import NamedTensor, TensorKey
from fastcmp.sources.wording import printable

Tensors = dict[TensorKey, NamedTensor]


def common_token(golden: Tensors, target: Tensors, offset: int) -> tuple[Tensors, str]:
    """Target's tensors by keys that can meet golden's, and a warning where that is not by their tokens.

    Where one side has no token and the other just one, target gets the token that golden has, and ``offset`` more, as
    `fastcmp.CompareOptions.token_offset` says of any. Else ``target`` as it is, and "".
    """
    ours, theirs = _some(golden), _some(target)
    if len(ours) != 1 or len(theirs) != 1 or ours == theirs or "" not in ours | theirs:
        return target, ""
    (our_token,), (their_token,) = ours, theirs
    without, having = ROLES if their_token else ROLES[::-1]
    token = shifted(our_token, offset)
    warning = f"{without} has no token_id, {having} {printable(our_token or their_token, 40)!r} only: names are compared, tokens are not"
    return {key._replace(token_id=token): tensor for key, tensor in target.items()}, warning


def token_advice(golden: Tensors, target: Tensors) -> str:
    """Why names that are equal do not pair, where one side has no token and the other several; else ""."""
    tokens = _some(golden), _some(target)
    for (without, one), (having, other) in itertools.permutations(zip(ROLES, tokens, strict=True)):
        if one == {""} and len(other) > 1:
            return f"{without} has no token_id, {having} several: names without a token pair with those of one token only"
    return ""


def _some(tensors: Tensors) -> set[str]:
    """The tokens; two of them where there are more."""
    found: set[str] = set()
    for key in tensors:
        found.add(key.token_id)
        if len(found) > 1:
            break
    return found
