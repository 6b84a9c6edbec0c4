"""A story in plain sentences, the most important first. Names in them are as the files have them: who shows them makes them safe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from fastcmp.results.text import parsed_shape
from fastcmp.sources.wording import counted

if TYPE_CHECKING:
    from fastcmp.analysis.choices import Choices
    from fastcmp.analysis.divergence import Jump, Spread
    from fastcmp.analysis.identical import Identical
    from fastcmp.analysis.narrowed import Narrowed
    from fastcmp.analysis.place import Place
    from fastcmp.analysis.rounding import Rounding
    from fastcmp.analysis.story import Story
    from fastcmp.sources.dump import RunOrder

_FEW: Final = 3
# What stands before it by name, or in a list, may have been computed after it.
_BEFORE: Final[dict[RunOrder, str]] = {
    "computed": "what ran before it",
    "file": "what the file lists before it",
    "files": "what stands before it",
    "name": "what stands before it by name",
}
_FIRST_MEANS: Final[dict[RunOrder, str]] = {
    "file": "first means in the order in which the file lists its tensors",
    "files": "first means by the names of the files, and within a file in the order in which it lists its tensors",
    "name": "first means by name: such a dump does not say in which order its tensors were computed",
}
# Inputs with more error than this are not called fine, however much is added to it.
_FINE: Final = 0.05
# An error that was so many times larger on its way than at both ends is said to have been.
_HUMP: Final = 1.25
_MANY_TIMES: Final = 1e9


def tell(story: Story, shown: Callable[[str], str] = str) -> list[str]:
    """A story in a handful of sentences that each stand alone; empty where there is nothing to say.

    Parameters
    ----------
    story : Story
    shown : callable
        Makes a name from a file fit to show; each goes through it.
    """
    return [*tell_what_happened(story, shown), *tell_what_is_not_known(story)]


def tell_what_happened(story: Story, shown: Callable[[str], str] = str) -> list[str]:
    """`tell` without what is not known, for those who say that themselves."""
    words = _Words(shown, story.run_order, has_unknown=bool(story.unknown_before))
    lines = words.of_choices(story.choices)
    lines += _of_narrowed(story.narrowed)
    lines += _of_identical(story, shown, words.before)
    if story.jump is not None and story.spread is not None:
        lines += words.of_jump(story.jump, story.spread, story.earlier_jump, is_cut=story.choices.is_cut)
        if story.fails_before_jump and story.first_failure is not None:
            ran = "ran" if story.run_order == "computed" else "stands"
            lines.append(f"the first pair that fails {ran} before that, at {words.where(story.first_failure)}, without a jump")
    if story.choices.was_fed:
        lines.append(words.of_harmless_choice(story.choices))
    return lines + _of_rounding(story)


class _Words:
    def __init__(self, shown: Callable[[str], str], run_order: RunOrder, *, has_unknown: bool) -> None:
        self.shown, self.before, self.has_unknown = shown, _BEFORE[run_order], has_unknown

    def where(self, place: Place) -> str:
        """``rank 1, token 3, layer 3, the input of mlp.down_proj``."""
        rank = f"rank {self.shown(place.rank)}, " if place.rank else ""
        token = f"token {self.shown(place.token_id)}, " if place.token_id else ""
        return f"{rank}{token}{self.what(place)}"

    def what(self, place: Place) -> str:
        """``layer 3, the input of mlp.down_proj``."""
        layer = f"layer {place.layer}" if place.layer >= 0 else ""
        operation = self.shown(place.operation or ("" if layer else place.data_id))
        if place.is_input:
            return f"{layer}, the input of {operation}".removeprefix(", ") if operation else f"the input of {layer}"
        return ", ".join(part for part in (layer, operation) if part)

    def when(self, word: str, place: Place, end: str = "") -> str:
        """`` at token 3``, `` from token 3 on``; nothing where tokens have no name."""
        return f" {word} token {self.shown(place.token_id)}{end}" if place.token_id else ""

    def of_choices(self, choices: Choices) -> list[str]:
        """Said first: everything after another token differs."""
        if choices.read is not None:
            chose = ""
            if choices.chosen is not None and choices.chosen.token_id != choices.read.token_id:
                chose = f" (they chose differently{self.when('at', choices.chosen)}{_ids(choices)})"
            begin = self.when("from", choices.read, " on")
            return [f"the runs read other tokens{begin}{chose}: everything from there on differs anyway"]
        if choices.looks_other is not None:
            place = choices.looks_other
            seen = f"{self.shown(place.data_id)} is of another one; everything from there on differs anyway"
            return [f"the runs seem to read other tokens{self.when('from', place, ' on')}: {seen}"]
        if choices.chosen is None or choices.was_fed:
            return []
        return [f"the runs chose other tokens{self.when('at', choices.chosen)}{_ids(choices)}: everything after it differs anyway"]

    def of_harmless_choice(self, choices: Choices) -> str:
        """A choice that nothing followed from."""
        assert choices.chosen is not None
        chosen = f"the runs chose other tokens{self.when('at', choices.chosen)}{_ids(choices)}"
        return f"{chosen}, but both read the same ones then: all can be compared"

    def of_jump(self, jump: Jump, spread: Spread, earlier: Place | None, *, is_cut: bool) -> list[str]:
        """Where it went wrong, how far that reaches, and what else."""
        lines = [self._jump(jump)]
        reach = self._reach(spread, is_cut)
        if reach:
            lines.append(reach)
        if spread.alike_count:
            lines.append(_alike(jump, spread))
        if spread.others:
            names = ", ".join(map(self.shown, spread.others))
            more = f" and {spread.other_count - len(spread.others)} more" if spread.other_count > len(spread.others) else ""
            lines.append(f"error of their own comes also from {names}{more}")
        if spread.cached:
            lines.append("attention of later tokens adds error as well: what it has cached is wrong from then on")
        if earlier is not None:
            lines.append(f"before it the error jumps at {self.where(earlier)}, which passes")
        return lines

    def _jump(self, jump: Jump) -> str:
        where = self.where(jump.place)
        whose, passes = self._came_from(jump), "; it still passes" if jump.passes else ""
        if jump.what == "non-finite":
            count = counted(jump.nonfinite, "element")
            other = "other " if jump.unknown_inputs else ""
            before = f"its {other}inputs had none" if jump.knows_inputs else "nothing before it had any"
            return f"{jump.nonfinite_kind} first appears at {where}, in {count}: {before}{_unknown(jump)}"
        if jump.what == "shape":
            return f"the shapes part at {where}{_shapes(jump.golden_shape, jump.target_shape)}"
        if jump.what == "integer":
            return f"integers differ first at {where}: no error before it explains that{_unknown(jump)}"
        if jump.what == "vast":
            return f"error at {where} is beyond any number{whose}{passes}"
        if jump.what == "zeros":
            away = f" by up to {jump.largest_difference:.2g}" if jump.largest_difference else ""
            return f"golden is all zeros at {where}, target differs from that{away}{whose}{passes}"
        beside = "" if jump.came_from * jump.factor >= 0.99 * jump.error else " one rounding"
        times = f"{jump.factor:,.0f}".replace(",", " ") if jump.factor < _MANY_TIMES else f"{jump.factor:.0e}"
        return f"error jumps at {where}: {jump.came_from:.2g} -> {jump.error:.2g} ({times} times{beside}){whose}{passes}"

    def _came_from(self, jump: Jump) -> str:
        first = f", the first tensor{' of its token' if jump.place.token_id else ''}{' that could be compared' * self.has_unknown}"
        if jump.place.is_input:
            if jump.previous is None:
                return first
            return f"; what made it was not dumped, and {self.before}, {self.what(jump.previous)}, was fine"
        if not jump.knows_inputs and jump.previous is None:
            return first
        if not jump.knows_inputs:
            return f", {self.before} was fine" if jump.came_from < _FINE else ", far more than anything before it"
        if jump.unknown_inputs:
            return f", its other inputs were fine{_unknown(jump)}"
        return ", its inputs were fine" if jump.came_from < _FINE else ", far more than its inputs had"

    def _reach(self, spread: Spread, is_cut: bool) -> str:
        begins = f"begins at token {self._first(spread.token_ids)}"
        that_can = " that can be compared" if is_cut else ""
        tokens = {
            "one of one": "",
            "all": f"seen at every token{that_can}",
            "from here on": f"{begins}, the last one{that_can}" if len(spread.token_ids) == 1 else f"{begins} and stays",
            "only here": f"seen at token {self._first(spread.token_ids)}{_only(spread, spread.unclear_tokens)}",
            "some": f"seen at {len(spread.token_ids)} of {spread.token_count} tokens, first at token {self._first(spread.token_ids)}",
        }[spread.tokens]
        parts = [
            (tokens, "at", spread.unclear_tokens),
            (_layers(spread), "in", spread.unclear_layers),
            (self._ranks(spread), "on", spread.unclear_ranks),
        ]
        said = []
        because = f": {'what goes in' if spread.knows_inputs else self.before} is wrong already"
        for text, word, unclear in reversed(parts):
            said += [f"{text} ({word} {unclear} more it cannot be told{because})" if unclear else text] if text else []
            because = "" if text and unclear else because
        elsewhere = f", and at {counted(spread.elsewhere_count, 'other place')}" if said and spread.elsewhere_count else ""
        return ("" if tokens or not said else "seen ") + ", ".join(reversed(said)) + elsewhere

    def _ranks(self, spread: Spread) -> str:
        if spread.ranks in ("one of one", "all"):
            return "on every rank" if spread.ranks == "all" else ""
        names = [self.shown(name) or "(none)" for name in spread.rank_names]
        if len(names) == 1:
            return f"on rank {names[0]}{_only(spread, spread.unclear_ranks)}"
        more = ", ..." if len(names) > _FEW else ""
        return f"on {len(names)} of {spread.rank_count} ranks ({', '.join(names[:_FEW])}{more})"

    def _first(self, names: tuple[str, ...]) -> str:
        return (self.shown(names[0]) or "(none)") if names else ""


def _unknown(jump: Jump) -> str:
    if not jump.unknown_inputs:
        return ""
    names_inputs = jump.knows_inputs and jump.what != "integer"
    return f", {jump.unknown_inputs if names_inputs else counted(jump.unknown_inputs, 'input')} could not be compared"


def _shapes(golden: str, target: str) -> str:
    """Both, and whether they have the same extents; "" where the report lacks one."""
    if not golden or not target:
        return ""
    alike = sorted(parsed_shape(golden)) == sorted(parsed_shape(target))
    return f": golden {golden}, target {target}{', the same extents in another order: is one transposed?' if alike else ''}"


def _alike(jump: Jump, spread: Spread) -> str:
    """How many pairs have the same, whatever they inherited of it."""
    count = (
        f"all {spread.pair_count} pairs"
        if spread.alike_count == spread.pair_count
        else f"{spread.alike_count} of {spread.pair_count} pairs"
    )
    says: dict[str, str] = {
        "shape": "the shapes differ in",
        "non-finite": "NaN or infinity meets something else in",
        "integer": "integers differ in",
        "vast": "error is beyond any number in",
        "zeros": "golden alone is all zeros in",
    }
    return f"{says[jump.what]} {count}"


def _only(spread: Spread, unclear: int) -> str:
    return "" if unclear or spread.elsewhere_count else " only"


def _layers(spread: Spread) -> str:
    numbers = spread.layer_numbers
    if spread.layers == "one of one" or not numbers:
        return ""
    if spread.layers == "all":
        return f"in every layer ({len(numbers)})"
    if len(numbers) == 1:
        return f"in layer {numbers[0]}{_only(spread, spread.unclear_layers)}"
    if spread.layers == "from here on":
        return f"from layer {numbers[0]} on"
    return f"in {len(numbers)} of {spread.layer_count} layers, first in layer {numbers[0]}"


def _of_identical(story: Story, shown: Callable[[str], str], before: str) -> list[str]:
    identical, lines = story.identical, []
    if identical.same_file:
        lines.append(f"{counted(identical.same_file, 'pair')} of one file with itself: both sides name the same path")
    elif identical.compared == identical.equal and story.first_failure is None:
        if identical.compared == 1:
            lines.append("the compared pair is equal bit for bit")
        elif identical.compared:
            doubt = "two programs that round differently would not do that; was one dump taken twice?"
            lines.append(f"all {identical.compared} compared pairs are equal bit for bit: {doubt}")
    else:
        lines += _of_exact_layers(identical, shown, before)
    for repeat in identical.repeats[:1]:
        more = f", and {len(identical.repeats) - 1} more such" if len(identical.repeats) > 1 else ""
        at = f" at token {shown(repeat.token_id)}" if repeat.what == "layer" and repeat.token_id else ""
        rank = f" on rank {shown(repeat.rank)}" if repeat.rank else ""
        lines.append(
            f"{repeat.side}'s {repeat.what} {shown(repeat.second)} repeats {repeat.what} {shown(repeat.first)}{at}{rank}"
            f" ({repeat.count} of {repeat.comparable} tensors{more}), on the other side it does not: a replayed graph with old inputs?"
        )
    return lines


def _of_exact_layers(identical: Identical, shown: Callable[[str], str], before: str) -> list[str]:
    if not identical.exact_layers:
        return []
    token, layer = identical.exact_layers[0]
    at = f" at token {shown(token)}" if token else ""
    more = f" (and {len(identical.exact_layers) - 1} more such)" if len(identical.exact_layers) > 1 else ""
    return [f"layer {layer}{at} is equal bit for bit although {before} is not{more}: was it taken from the same run?"]


def _of_narrowed(narrowed: Narrowed | None) -> list[str]:
    """Said before where it went wrong: it decides what counts as wrong."""
    if narrowed is None:
        return []
    whose = f"all {narrowed.of}" if narrowed.count == narrowed.of else f"{narrowed.count} of the {narrowed.of}"
    still = "none would fail" if not narrowed.still else f"{narrowed.still} would still fail"
    advice = f"fastcmp judge DIR --threshold 'relative_euclidean_distance <= {narrowed.limit:g}'"
    return [f"{whose} pairs that fail hold {narrowed.dtype} values in a wider dtype; judged as {narrowed.dtype}, {still}: {advice}"]


def _of_rounding(story: Story) -> list[str]:
    rounding = story.rounding
    if rounding is None or story.jump is not None or (not rounding.last and not rounding.first):
        return []
    before = "before that " if story.choices.is_cut else ""
    if rounding.is_all:
        return [f"{before}no more than rounding: {rounding.dtype}, {_course(rounding)}"]
    causes = "it is rounding everywhere, or a small error in each layer"
    return [f"{before}no operation adds much by itself: {rounding.dtype}, {_course(rounding)}; {causes}"]


def _course(rounding: Rounding) -> str:
    first, last = f"{rounding.first:.2g}", f"{rounding.last:.2g}"
    if rounding.largest > _HUMP * max(rounding.first, rounding.last):
        course = f"{first} to {last}, {rounding.largest:.2g} at most,"
    elif first == last:
        course = f"staying at {last}"
    else:
        course = f"{first} {'growing' if rounding.last > rounding.first else 'falling'} to {last}"
    if not rounding.layer_count:
        return course.removesuffix(",")
    return f"{course} over {counted(rounding.layer_count, 'layer')}, {rounding.most_per_layer:.1f} roundings in one at most"


def tell_what_is_not_known(story: Story) -> list[str]:
    """What stands between the story and the truth."""
    lines = []
    found = story.jump is not None or story.first_failure is not None
    if story.unknown_before:
        tensors = counted(story.unknown_before, "tensor")
        lines.append(
            f"{tensors} before it could not be compared: it may have begun there"
            if found
            else f"{tensors} could not be compared: what is in {'it' if story.unknown_before == 1 else 'them'} is not known"
        )
    if found and story.run_order in _FIRST_MEANS:
        lines.append(_FIRST_MEANS[story.run_order])
    return lines


def _ids(choices: Choices) -> str:
    if choices.golden is None or choices.target is None:
        return ""
    return f" (golden {choices.golden}, target {choices.target})"
