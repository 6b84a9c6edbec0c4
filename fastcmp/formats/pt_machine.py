"""A machine for the pickles that torch writes: what they describe, without making any of it.

Exactly the operations of the binary protocols 2 to 5 are known, and exactly the names of `pt_globals`. An object is a description or a
plain value; calling a function of theirs means asking our list what it would have made.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from fastcmp.formats.malformed import Malformed, shortened
from fastcmp.formats.pt_globals import ALLOWED
from fastcmp.formats.pt_tensors import Made, Named, storage_of
from fastcmp.formats.pt_values import OPAQUE, Mapping, Opaque, Refused, Storage, Unordered, kind_of

# A state_dict of 100 000 tensors takes four million, and three seconds.
MOST_OPERATIONS: Final = 6_000_000
_LONGEST_NAME: Final = 256
_LONGEST_INTEGER: Final = 255

# Arguments of a function that is given another one: a tensor with attributes.
_WRAPPED: Final = 4

_STOP: Final = ord(".")
_NO_VALUE: Final = "the pickle takes a value where there is none"


def load(data: bytes | memoryview, at: int = 0, storages: dict[str, Storage] | None = None) -> tuple[object, int]:
    """The value that the pickle at ``at`` describes, and where the pickle ends.

    The first storage of each key is put into ``storages``.

    Returns
    -------
    object
        None, bool, int, float, str, tuple, list, or one of the classes of `pt_values`; containers may hold themselves.

    Raises
    ------
    Malformed
        E_PICKLE with the byte in ``data``; E_TRUNCATED if the pickle does not end in ``data``.
    """
    machine = _Machine(data, at, {} if storages is None else storages)
    try:
        return machine.run(), machine.at
    except Malformed as error:
        raise Malformed(error.code, f"byte {machine.began}: {error.detail}") from None


class _Machine:
    """``at``: the next byte; ``began``: the operation at hand."""

    def __init__(self, data: bytes | memoryview, at: int, storages: dict[str, Storage]) -> None:
        self.data, self.at, self.began = data, at, at
        self._storages = storages
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._floor = 0  # the last mark
        self._memo: dict[int, Any] = {}
        self._cost = 0

    def run(self) -> object:
        data, operations = self.data, _OPERATIONS
        size = len(data)
        while self.at < size:
            self.began = self.at
            code = data[self.at]
            self.at += 1
            self._cost += 1
            if code == _STOP:
                if len(self._stack) != 1 or self._marks:
                    raise Malformed("E_PICKLE", f"the pickle ends with {len(self._stack)} values, expected one")
                return self._stack[0]
            operation = operations.get(code)
            if operation is None:
                raise Malformed("E_PICKLE", f"expected an operation of pickle protocol 2 to 5, got {bytes((code,))!r}")
            operation(self)
            if self._cost > MOST_OPERATIONS:
                raise Malformed("E_PICKLE", f"the pickle takes more than {MOST_OPERATIONS} operations")
        self.began = size
        raise Malformed("E_TRUNCATED", "the pickle does not end here")

    # --- bytes and the stack ---

    def take(self, count: int) -> bytes | memoryview:
        end = self.at + count
        if end > len(self.data):
            raise Malformed("E_TRUNCATED", f"the pickle ends {end - len(self.data)} bytes early")
        found = self.data[self.at : end]
        self.at = end
        return found

    def number(self, count: int) -> int:
        at, end = self.at, self.at + count
        if end > len(self.data):
            self.take(count)
        self.at = end
        return self.data[at] if count == 1 else int.from_bytes(self.data[at:end], "little")

    def push(self, value: object) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        if len(self._stack) <= self._floor:
            raise Malformed("E_PICKLE", _NO_VALUE)
        return self._stack.pop()

    def top(self) -> Any:
        if len(self._stack) <= self._floor:
            return self.pop()
        return self._stack[-1]

    def pop_to_mark(self) -> list[Any]:
        if not self._marks:
            raise Malformed("E_PICKLE", "the pickle goes back to a mark where there is none")
        mark = self._marks.pop()
        self._floor = self._marks[-1] if self._marks else 0
        values = self._stack[mark:]
        del self._stack[mark:]
        return values

    def text(self, content: bytes | memoryview) -> str:
        try:
            return str(content, "utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise Malformed("E_PICKLE", f"expected text in UTF-8, got {shortened(bytes(content[:20]))}") from None

    # --- operations ---

    def proto(self) -> None:
        version = self.number(1)
        if not 2 <= version <= 5:
            raise Malformed("E_PICKLE", f"expected pickle protocol 2 to 5, got {version}")

    def mark(self) -> None:
        self._floor = len(self._stack)
        self._marks.append(self._floor)

    def duplicate(self) -> None:
        self.push(self.top())

    def integer(self) -> None:
        self.push(struct.unpack("<i", self.take(4))[0])

    def real(self) -> None:
        self.push(struct.unpack(">d", self.take(8))[0])

    def long(self, width: int) -> None:
        count = self.number(width)
        if count > _LONGEST_INTEGER:
            raise Malformed("E_PICKLE", f"an integer of {count} bytes, expected at most {_LONGEST_INTEGER}")
        self.push(int.from_bytes(self.take(count), "little", signed=True))

    def unicode(self, width: int) -> None:
        self.push(self.text(self.take(self.number(width))))

    def string(self, width: int) -> None:
        """Text of Python 2, which did not say in which encoding."""
        self.push(str(self.take(self.number(width)), "latin-1"))

    def octets(self, width: int) -> None:
        """Nothing asks for them; what they are is kept, so that they are not taken for something else."""
        self.take(self.number(width))
        self.push(OPAQUE)

    def tuple_of(self, count: int) -> None:
        if len(self._stack) - count < self._floor:
            raise Malformed("E_PICKLE", _NO_VALUE)
        values = tuple(self._stack[-count:])
        del self._stack[-count:]
        self._stack.append(values)

    def append(self, values: list[Any]) -> None:
        target = self.top()
        if type(target) is list:
            target.extend(values)
        elif type(target) is Unordered:
            target.values.extend(values)
        elif type(target) is not Opaque:
            raise Malformed("E_PICKLE", f"the pickle appends to a value of kind {kind_of(target)}")

    def set_items(self, values: list[Any]) -> None:
        target = self.top()
        if len(values) % 2 or type(target) is not Mapping:
            raise Malformed("E_PICKLE", f"the pickle sets {len(values) / 2:g} items of a value of kind {kind_of(target)}")
        target.keys += values[::2]
        target.values += values[1::2]

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def put(self, index: int) -> None:
        self._memo[index] = self.top()

    def get(self, index: int) -> None:
        if index not in self._memo:
            raise Malformed("E_PICKLE", f"the pickle refers to value {index}, which it has not kept")
        self.push(self._memo[index])

    def memoize(self) -> None:
        self.put(len(self._memo))

    def line(self) -> str:
        window = bytes(self.data[self.at : self.at + _LONGEST_NAME + 1])
        length = window.find(b"\n")
        if length < 0:
            is_cut = len(window) <= _LONGEST_NAME
            raise Malformed(
                "E_TRUNCATED" if is_cut else "E_PICKLE", f"expected a name of at most {_LONGEST_NAME} bytes, got {shortened(window)}"
            )
        return self.text(self.take(length + 1)[:length])

    def name(self) -> None:
        module = self.line()
        self.push(_allowed(module, self.line()))

    def stacked_name(self) -> None:
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise Malformed("E_PICKLE", f"expected the name of a class or function, got {kind_of(module)} and {kind_of(name)}")
        self.push(_allowed(module, name))

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        if type(function) is not Made or type(arguments) is not tuple:
            name = function.name if type(function) is Named else kind_of(function)
            raise Malformed("E_PICKLE", f"the pickle calls {shortened(name)}, which torch does not; nothing was executed")
        # What is made of a list may be as long as that; metadata of a tensor, its last argument, is looked at whole.
        if arguments:
            first = arguments[0]
            inner = arguments[2] if type(first) is Made and len(arguments) == _WRAPPED else arguments
            last = inner[-1] if type(inner) is tuple and inner else None
            self._cost += len(first) if isinstance(first, list | tuple) else len(first.keys) if type(first) is Mapping else 0
            self._cost += len(last.keys) if type(last) is Mapping else 0
        self.push(function.make(arguments))

    def build(self) -> None:
        """Attributes: those of an OrderedDict of modules, of an array, of a dtype. No tensor of ours has any."""
        self.pop()
        target = self.top()
        if type(target) not in (Mapping, Opaque, Refused, Unordered, list):
            raise Malformed("E_PICKLE", f"the pickle sets attributes of a value of kind {kind_of(target)}")

    def frozen_set(self) -> None:
        self.push(Unordered(self.pop_to_mark()))

    def persistent(self) -> None:
        storage = storage_of(self.pop())
        self._storages.setdefault(storage.key, storage)
        self.push(storage)


def _allowed(module: str, name: str) -> object:
    full = f"{module[:_LONGEST_NAME]}.{name[:_LONGEST_NAME]}"
    found = ALLOWED.get(full)
    if found is None:
        raise Malformed(
            "E_PICKLE",
            f"the pickle names {shortened(full, 200)}, which is not among the names of tensors and containers; nothing was executed",
        )
    return found


def _constant(value: object) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(value)


_OPERATIONS: Final[dict[int, Callable[[_Machine], object]]] = {
    ord(key): operation
    for key, operation in {
        "\x80": _Machine.proto,
        "\x95": lambda machine: machine.take(8),  # a frame
        "(": _Machine.mark, "0": _Machine.pop, "1": _Machine.pop_to_mark, "2": _Machine.duplicate,
        "N": _constant(None), "\x88": _constant(True), "\x89": _constant(False),
        "J": _Machine.integer, "G": _Machine.real,
        "K": lambda machine: machine.push(machine.number(1)),
        "M": lambda machine: machine.push(machine.number(2)),
        "\x8a": lambda machine: machine.long(1), "\x8b": lambda machine: machine.long(4),
        "\x8c": lambda machine: machine.unicode(1), "X": lambda machine: machine.unicode(4), "\x8d": lambda machine: machine.unicode(8),
        "U": lambda machine: machine.string(1), "T": lambda machine: machine.string(4),
        "C": lambda machine: machine.octets(1), "B": lambda machine: machine.octets(4),
        "\x8e": lambda machine: machine.octets(8), "\x96": lambda machine: machine.octets(8),
        ")": _constant(()), "t": lambda machine: machine.push(tuple(machine.pop_to_mark())),
        "\x85": lambda machine: machine.tuple_of(1),
        "\x86": lambda machine: machine.tuple_of(2),
        "\x87": lambda machine: machine.tuple_of(3),
        "]": lambda machine: machine.push([]),
        "a": lambda machine: machine.append([machine.pop()]), "e": lambda machine: machine.append(machine.pop_to_mark()),
        "\x8f": lambda machine: machine.push(Unordered()), "\x91": _Machine.frozen_set,
        "\x90": lambda machine: machine.append(machine.pop_to_mark()),
        "}": lambda machine: machine.push(Mapping()), "s": _Machine.set_item, "u": lambda machine: machine.set_items(machine.pop_to_mark()),
        "q": lambda machine: machine.put(machine.number(1)), "r": lambda machine: machine.put(machine.number(4)), "\x94": _Machine.memoize,
        "h": lambda machine: machine.get(machine.number(1)), "j": lambda machine: machine.get(machine.number(4)),
        "c": _Machine.name, "\x93": _Machine.stacked_name,
        "R": _Machine.call, "\x81": _Machine.call, "b": _Machine.build, "Q": _Machine.persistent,
    }.items()
}  # fmt: skip
