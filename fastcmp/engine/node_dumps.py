"""What the nodes of a cluster have on their disks: the names of both dumps, and which node has which file.

A node that sees the same directory as this machine, or as a node before it (by inode, size and time, and by a sample of the files in it),
is not asked for names again. The others list for themselves, and what they list is put together.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from fastcmp.engine.disks import HERE, MISSING, Disks, FileWords, in_threes, words_of_all, words_of_argument
from fastcmp.errors import TensorError, UsageError
from fastcmp.formats import may_be_alias
from fastcmp.formats.places import files_of, shown_place, split_place
from fastcmp.formats.tensor_info import TensorInfo
from fastcmp.options import CompareOptions, ScanOptions
from fastcmp.pairing import Pair
from fastcmp.parallel.loading import check_sides, put_together
from fastcmp.sources import Dump, NamedTensor, Role, TensorKey, load
from fastcmp.sources.natural_order import token_key
from fastcmp.sources.wording import printable

if TYPE_CHECKING:
    from fastcmp.engine.cluster import ClusterExecutor

SAMPLE_COUNT: Final = 64
_PATHS_AT_ONCE: Final = 8192
_HEADERS_AT_ONCE: Final = 256

_OnDisk = tuple[int, FileWords]
"""The nodes that have a file, one bit each, and the words of the file there."""


@dataclass(slots=True)
class _Listing:
    """A dump as one machine has it, and the nodes that see the same directory. ``name`` is that of the machine."""

    name: str
    dump: Dump
    words: list[FileWords]
    nodes: list[int]


class NodeDisks(Disks):
    """The disks of the nodes.

    Parameters
    ----------
    cluster : ClusterExecutor
    files : dict
        Where each file lies that some node has.
    """

    def __init__(self, cluster: ClusterExecutor, files: dict[str, _OnDisk]) -> None:
        self._cluster, self._files = cluster, files
        self._everywhere = (1 << len(cluster.nodes)) - 1
        self._named: dict[str, FileWords] | None = None

    def sizes(self, places: Sequence[str], options: ScanOptions) -> array[int]:
        """Bytes of each place; 0 where no node has it."""
        sizes = array("q", [max(self._on_disk(place)[1][1], 0) for place in places])
        members = [position for position, place in enumerate(places) if split_place(place)[1] and sizes[position]]
        for position, size in self._asked([places[position] for position in members], HERE.sizes, options):
            sizes[members[position]] = size if isinstance(size, int) else 0
        return sizes

    def scan(self, places: Sequence[str], options: ScanOptions) -> list[TensorInfo | TensorError]:
        """What each header says, each read by a node that has the file."""
        found = dict(self._asked(places, HERE.scan, options))
        return [found[position] for position in range(len(places))]

    def _asked(
        self, places: Sequence[str], look: Callable[[Sequence[str], ScanOptions], Sequence[Any]], options: ScanOptions
    ) -> Iterator[tuple[int, Any]]:
        """What a node that has it says about each place; the position of the place first."""
        by_home: dict[int, list[int]] = {}
        for position, place in enumerate(places):
            by_home.setdefault(self._on_disk(place)[0], []).append(position)
        asked = []
        for home, positions in by_home.items():
            for start in range(0, len(positions), _HEADERS_AT_ONCE):
                part = positions[start : start + _HEADERS_AT_ONCE]
                asked.append((part, self._cluster.submit_to(home, look, [places[position] for position in part], options)))
        for part, future in asked:
            try:
                yield from zip(part, future.result(), strict=True)
            except UsageError:
                raise
            except Exception as error:  # it is seen again where the pair is compared, and costs its row there
                yield from ((position, TensorError("E_IO", places[position], str(error))) for position in part)

    def home(self, pair: Pair) -> int:
        """The nodes that have both files, one bit each; 0 for all. Where none has both, those that have golden, or else target."""
        assert pair.golden is not None and pair.target is not None
        golden, target = self._on_disk(pair.golden.path)[0], self._on_disk(pair.target.path)[0]
        home = golden & target or golden or target
        return 0 if home == self._everywhere else home

    def is_apart(self, pair: Pair) -> bool:
        """True where both files exist, but no node has both."""
        if pair.golden is None or pair.target is None:
            return False
        golden, target = self._on_disk(pair.golden.path)[0], self._on_disk(pair.target.path)[0]
        return bool(golden and target and not golden & target)

    def words(self, pair: Pair, options: ScanOptions) -> tuple[int, ...] | None:
        """Those of the files where they lie; of one that only names another, those of that one."""
        if pair.golden is None or pair.target is None:
            return None
        golden, target = (self._input_of(side.path, options) for side in (pair.golden, pair.target))
        return None if MISSING in (golden, target) else (*golden, *target)

    def _input_of(self, place: str, options: ScanOptions) -> FileWords:
        path, words = files_of(place)[0], self._on_disk(place)[1]
        if not may_be_alias(path, words[1]):
            return words
        if self._named is None:  # all of them with one question to each node
            small = [path for path, (_, words) in self._files.items() if may_be_alias(path, words[1])]
            found = self._asked(small, HERE.inputs, options)
            self._named = {small[position]: words for position, words in found if isinstance(words, tuple)}
        return self._named.get(path, MISSING)

    def _on_disk(self, place: str) -> _OnDisk:
        return self._files.get(files_of(place)[0], (0, MISSING))


def load_dumps(cluster: ClusterExecutor, golden: str, target: str, options: CompareOptions) -> tuple[tuple[Dump, Dump], Disks]:
    """Both dumps as all nodes and this machine together have them, and who has which file.

    Raises
    ------
    UsageError
        If nobody has a dump, if a node has one that cannot be used, or if two nodes have different tensors of one name.
    """
    check_sides(options)
    files: dict[str, _OnDisk] = {}
    golden_dump, is_shared = _load(cluster, golden, "golden", options, None, files)
    target_dump, is_target_shared = _load(cluster, target, "target", options, golden_dump, files)
    if is_shared and is_target_shared:
        return put_together(golden_dump, target_dump, options), HERE
    if (options.golden_parallel, options.target_parallel) != (None, None):
        raise UsageError(
            f"{cluster.name}: found dumps on disks of the nodes, but tensors that several ranks hold can only be put together where all "
            "nodes and this machine see all files; put the dumps on a file system that all of them share"
        )
    looking = [way for way in options.pair_by if way in ("content", "position")]
    if looking:
        raise UsageError(
            f"{cluster.name}: --pair-by {looking[0]}: looks into files from this machine, but found them on disks of the nodes; "
            "leave it out, or put the dumps on a file system that all of them share"
        )
    for dump in [golden_dump] * is_shared + [target_dump] * is_target_shared:
        _note_shared(files, [tensor.files[0] for tensor in dump.tensors], len(cluster.nodes))
    return (golden_dump, target_dump), NodeDisks(cluster, files)


def _load(
    cluster: ClusterExecutor, path: str, role: Role, options: CompareOptions, other: Dump | None, files: dict[str, _OnDisk]
) -> tuple[Dump, bool]:
    """One dump; and True where all nodes see it as this machine does, so that nothing was noted in ``files``."""
    absolute = os.path.join(_working_directory(), path)
    own = words_of_argument(absolute, options.scan)
    marks = cluster.ask_all(words_of_argument, absolute, options.scan)
    if own != MISSING and all(mark == own for mark in marks):
        dump = load(path, role, options, other)
        if not _unlike(cluster, range(len(marks)), dump, None):
            return dump, True
    listings = _listings(cluster, path, role, options, own, marks)
    dump = _joined(listings, path, role)
    for listing in listings:
        _locate(cluster, listing, files)
    _look_everywhere(cluster, [tensor.files[0] for tensor in dump.tensors], files)
    return dump, False


def _listings(
    cluster: ClusterExecutor, path: str, role: Role, options: CompareOptions, own: FileWords, marks: Sequence[FileWords]
) -> list[_Listing]:
    """The dump as this machine and each different node lists it."""
    groups: dict[FileWords, list[int]] = {}
    for node, mark in enumerate(marks):
        if mark != MISSING:
            groups.setdefault(mark, []).append(node)
    listings = []
    here = list_here(path, role, options, "") if own != MISSING else None
    if here is not None:
        listings.append(_Listing("this machine", here[0], in_threes(here[1]), groups.pop(own, [])))
    arguments = path, role, options, _working_directory()
    asked = [(nodes[0], cluster.ask(nodes[0], list_here, *arguments)) for nodes in groups.values()]
    for nodes, found in zip(groups.values(), cluster.answers(asked), strict=True):
        if found is not None:
            listings.append(_Listing(cluster.nodes[nodes[0]].name, found[0], in_threes(found[1]), nodes))
    if not listings:
        said = f"{printable(path)}: neither this machine nor any of the {len(cluster.nodes)} nodes has it"
        raise UsageError(f"{said}; name a metadata.json, a directory or a tensor file")
    return listings


def list_here(path: str, role: Role, options: CompareOptions, working_directory: str) -> tuple[Dump, array[int]] | None:
    """The dump that the present machine has, and the words of each file; None for a directory without anything in it."""
    whole = os.path.join(working_directory, path)
    if os.path.isdir(whole) and not os.listdir(whole):
        return None
    dump = load(path, role, options, working_directory=working_directory)
    return dump, words_of_all([tensor.files[0] for tensor in dump.tensors])


def _joined(listings: Sequence[_Listing], path: str, role: Role) -> Dump:
    """One dump of all listings: each key once, in the order of the listings, by rank where there are several."""
    kinds = {listing.dump.kind: listing.name for listing in listings}
    if len(kinds) > 1:
        said = ", ".join(f"a {kind} on {name}" for kind, name in kinds.items())
        raise UsageError(f"{printable(path)}: expected one kind of dump everywhere, found {said}")
    _give_ranks(listings)
    known: dict[TensorKey, tuple[NamedTensor, FileWords, str]] = {}
    for listing in listings:
        for tensor, words in zip(listing.dump.tensors, listing.words, strict=True):
            before = known.get(tensor.key)
            if before is None or (before[1] == MISSING and words != MISSING):
                known[tensor.key] = tensor, words, listing.name
            elif words != MISSING and before[1][1:] != words[1:]:
                raise UsageError(_two_tensors(role, before, (tensor, words, listing.name)))
    tensors = [tensor for tensor, _, _ in known.values()]
    if len({tensor.key.rank for tensor in tensors}) > 1:
        tensors.sort(key=lambda tensor: token_key(tensor.key.rank))
    warnings = [warning for listing in listings for warning in listing.dump.warnings]
    return replace(listings[0].dump, path=path, tensors=tensors, warnings=list(dict.fromkeys(warnings)))


def _give_ranks(listings: Sequence[_Listing]) -> None:
    """Let what is one process alone on its disk have the rank of its directory, where other disks have other processes."""
    if len({listing.dump.lone_rank for listing in listings}) > 1:
        for listing in listings:
            rank = listing.dump.lone_rank
            tensors = [tensor._replace(key=tensor.key._replace(rank=tensor.key.rank or rank)) for tensor in listing.dump.tensors]
            listing.dump = replace(listing.dump, tensors=tensors, lone_rank="")


def _two_tensors(role: Role, *both: tuple[NamedTensor, FileWords, str]) -> str:
    key = both[0][0].key
    name = "/".join(part for part in (key.rank and f"rank{key.rank}", key.data_id, key.token_id) if part)
    found = " and ".join(f"{printable(shown_place(tensor.path))} of {words[1]} bytes on {node}" for tensor, words, node in both)
    said = f"{role} {printable(name, 80)}: found {found}, of other size or time"
    return f"{said}; expected each tensor once, or copies that kept their times (rsync -a); dump with RANK set, or remove one of the dumps"


def _locate(cluster: ClusterExecutor, listing: _Listing, files: dict[str, _OnDisk]) -> None:
    """Note which nodes have the files of a listing."""
    paths = [tensor.files[0] for tensor in listing.dump.tensors]
    unlike = _unlike(cluster, listing.nodes, listing.dump, listing.words)
    alike = sum(1 << node for node in listing.nodes if node not in unlike)
    for path, words in zip(paths, listing.words, strict=True):
        if alike and words != MISSING:
            _note(files, path, alike, words)
    for node in unlike:
        _ask_for(cluster, [node], paths, files)


def _unlike(cluster: ClusterExecutor, nodes: Sequence[int], dump: Dump, words: Sequence[FileWords] | None) -> set[int]:
    """Those of the nodes that see other files than the one that listed them, by a sample."""
    step = max(1, len(dump.tensors) // SAMPLE_COUNT)
    paths = [tensor.files[0] for tensor in dump.tensors[::step]]
    expected = in_threes(words_of_all(paths)) if words is None else list(words[::step])
    if not any(known != MISSING for known in expected):
        return set(nodes)  # none of them is where the names are: nothing can be told by them
    found = cluster.answers([(node, cluster.ask(node, words_of_all, paths)) for node in nodes])
    return {node for node, answer in zip(nodes, found, strict=True) if in_threes(answer) != expected}


def _look_everywhere(cluster: ClusterExecutor, paths: Sequence[str], files: dict[str, _OnDisk]) -> None:
    """Ask every node for the files that nobody is known to have: a metadata.json may name disks that lie elsewhere than it does."""
    _ask_for(cluster, range(len(cluster.nodes)), [path for path in paths if path not in files], files)


def _ask_for(cluster: ClusterExecutor, nodes: Sequence[int], paths: Sequence[str], files: dict[str, _OnDisk]) -> None:
    for start in range(0, len(paths), _PATHS_AT_ONCE):
        part = paths[start : start + _PATHS_AT_ONCE]
        answers = cluster.answers([(node, cluster.ask(node, words_of_all, part)) for node in nodes])
        for node, answer in zip(nodes, answers, strict=True):
            for path, words in zip(part, in_threes(answer), strict=True):
                if words != MISSING:
                    _note(files, path, 1 << node, words)


def _note_shared(files: dict[str, _OnDisk], paths: Sequence[str], node_count: int) -> None:
    """Files that all nodes see as this machine does."""
    mask = (1 << node_count) - 1
    for path, words in zip(paths, in_threes(words_of_all(paths)), strict=True):
        if words != MISSING:
            _note(files, path, mask, words)


def _note(files: dict[str, _OnDisk], path: str, nodes: int, words: FileWords) -> None:
    """Of copies with other inodes, the words of the first count."""
    known = files.get(path)
    files[path] = (nodes, words) if known is None else (known[0] | nodes, known[1])


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""
