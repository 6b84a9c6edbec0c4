from __future__ import annotations

import json
import math

from fastcmp.results.json_text import plain_json


def test_what_json_has_no_word_for_is_text() -> None:
    found = plain_json({1: [math.nan, -math.inf, 1 + 2j, (True, None, 0.5)], "inner": {(): "x"}})
    assert found == {"1": ["nan", "-inf", "(1+2j)", [True, None, 0.5]], "inner": {"()": "x"}}
    assert json.loads(json.dumps(found, allow_nan=False)) == found
