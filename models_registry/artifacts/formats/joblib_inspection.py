"""Inspects a joblib file as a list of instructions: every name is noted, no object is imported or called."""

import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NoReturn, cast

from models_registry.artifacts.formats.compression import open_stream
from models_registry.artifacts.formats.inert_arrays import (
    CallArguments,
    ContradictoryFile,
    OtherState,
    TruncatedFile,
    item_bytes,
    item_count,
    object_items,
)
from models_registry.artifacts.formats.migrations.names import current_name
from models_registry.artifacts.formats.trusted import BOUND_METHODS, RECONSTRUCTOR
from models_registry.artifacts.inspection_notes import InspectionNotes, LimitReached, claim
from models_registry.artifacts.object_tree import Inert, InertArray, object_tree_of

MAX_INSTRUCTIONS = 20_000_000
MAX_HELD = 8_000_000
# An array of objects is a pickle within the pickle. Inspection and opening accept the same depth.
MAX_NESTING = 16
_MAX_TEXT_LENGTH = 4096
_MAX_LINE_LENGTH = 1 << 16
_CHUNK_BYTES = 1 << 20
_WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"
_STATE_ENTRY_BYTES = 64
_LIBRARIES = ("sklearn.", "numpy.", "scipy.", "builtins.", "collections.")
_DICTIONARIES = frozenset({"collections.OrderedDict", "collections.defaultdict", "sklearn.utils._bunch.Bunch"})
_PICKLE_PYTHONS = {2: ">=2.3", 3: ">=3.0", 4: ">=3.4", 5: ">=3.8"}


class _Text(str):
    """Replaces bytes or text that are too long to keep."""


class _Unhashable:
    """Replaces a key that is not a plain value: hashing a crafted key can take forever."""


def _key(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bytes | None) else _Unhashable()


class InertUnpickler(pickle._Unpickler):
    """Interprets a pickle's instructions with stand-ins instead of objects."""

    dispatch: ClassVar[Any] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    metastack: list[list[Any]]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, stream: "io.BufferedReader[Any]", notes: InspectionNotes, *, limit: int, depth: int = 0) -> None:
        super().__init__(cast(Any, stream))
        self._stream = stream
        self._notes = notes
        self._limit = limit
        self._depth = depth
        self._text_bytes = 0
        if depth > MAX_NESTING:
            raise ContradictoryFile(f"It nests arrays of objects more than {MAX_NESTING} deep.")

    def load(self) -> Any:
        """Return the stand-in of the object in the stream."""
        self.read = self._exactly
        self.readline = self._line
        self.readinto = self._stream.readinto
        self.metastack = []
        self.stack = []
        self.append = self.stack.append
        self.proto = 0
        dispatch = cast("dict[int, Callable[[InertUnpickler], None]]", self.dispatch)
        next_code = self._stream.read
        try:
            for _ in range(MAX_INSTRUCTIONS):
                key = next_code(1)
                if not key:
                    raise TruncatedFile("It ends early.")
                dispatch[key[0]](self)
                if len(self.stack) + len(self.memo) + len(self.metastack) > MAX_HELD:
                    break
        except pickle._Stop as stop:  # type: ignore[attr-defined]
            return stop.value
        raise LimitReached(
            f"The artifact holds more than {MAX_HELD} objects or {MAX_INSTRUCTIONS} instructions. "
            "Publish a smaller model."
        )

    memo: dict[int, Any]

    def _note_unusual(self, act: str) -> None:
        self._notes.problems.append(
            f"The artifact {act}. No ordinary file does. Publish it again from its training script."
        )

    def _exactly(self, count: int) -> bytes:
        data = self._stream.read(count)
        if len(data) != count:
            raise TruncatedFile("It ends early.")
        return data

    def _line(self) -> bytes:
        line = self._stream.readline(_MAX_LINE_LENGTH)
        if not line.endswith(b"\n") and len(line) < _MAX_LINE_LENGTH:
            raise TruncatedFile("It ends early.")
        if not line.endswith(b"\n"):
            raise ContradictoryFile("It holds an instruction without an end.")
        return line

    def _endless_line(self) -> bytes:
        """Return the start of a text line; protocol 0 writes whole arrays as one line."""
        start = line = self._stream.readline(_MAX_LINE_LENGTH)
        claim(self._notes, len(line), self._limit)
        while not line.endswith(b"\n"):
            line = self._stream.readline(_CHUNK_BYTES)
            if not line:
                raise TruncatedFile("It ends early.")
            claim(self._notes, len(line), self._limit)
        return start

    def load_unicode(self) -> None:
        line = self._endless_line()
        self.append(
            line[:-1].decode("raw-unicode-escape") if len(line) <= _MAX_TEXT_LENGTH else _Text(f"<{len(line)} bytes>")
        )

    def load_string(self) -> None:
        line = self._endless_line()
        text = line.strip()[1:-1]
        self.append(text.decode("latin1") if len(line) <= _MAX_TEXT_LENGTH else _Text(f"<{len(line)} bytes>"))

    def find_class(self, module: str, name: str) -> Any:
        if "." in name:
            self._note_unusual(f"names {module}.{name} by a path through {module}")
        if module.startswith("numpy._core"):
            self._notes.note_version("numpy", ">=2.0")
        elif module.startswith("numpy.core"):
            self._notes.note_version("numpy", "<2.0")
        full = ".".join(current_name(module, name))
        self._notes.globals.add(full)
        return Inert(full)

    def _skip(self, count: int) -> None:
        claim(self._notes, count, self._limit)
        left = count
        while left:
            got = len(self._stream.read(min(left, _CHUNK_BYTES)))
            if not got:
                raise TruncatedFile(f"It declares {count} bytes, but only {count - left} follow.")
            left -= got

    def _text(self, length: int, decode: Callable[[bytes], Any]) -> None:
        if length > _MAX_TEXT_LENGTH:
            self._skip(length)
            self.append(_Text(f"<{length} bytes>"))
            return
        # Short texts count as well: many short texts use as much memory as a long one.
        claim(self._notes, length, self._limit)
        self.append(decode(self._exactly(length)))

    def load_proto(self) -> None:
        version = self._exactly(1)[0]
        if version > pickle.HIGHEST_PROTOCOL:
            raise ContradictoryFile(f"It is written in pickle protocol {version}, which this Python does not know.")
        if not self._depth:
            self._notes.note_version("python", _PICKLE_PYTHONS.get(version, ">=2.0"))

    def load_frame(self) -> None:
        self._exactly(8)

    def _made(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Inert):
            self._note_unusual("calls a value that is not a name")
            return Inert("?")
        name = self._bound_method(function.name, arguments)
        if function.state:
            self._note_unusual(f"calls an instance of {function.name}")
        if name == RECONSTRUCTOR and isinstance(arguments, tuple) and arguments and isinstance(arguments[0], Inert):
            self._notes.called.add(name)
            return self._made(arguments[0], ())
        self._notes.called.add(name)
        return Inert(name, {CallArguments: arguments})

    def _bound_method(self, name: str, arguments: Any) -> str:
        """Return the method's name for the few methods that ordinary files read with getattr."""
        if name != "builtins.getattr" or not isinstance(arguments, tuple) or len(arguments) != 2:
            return name
        target, method = arguments
        full = f"{target.name}.{method}" if isinstance(target, Inert) else ""
        if full not in BOUND_METHODS:
            return name
        self._notes.globals.discard(name)
        return full

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self._made(self.stack[-1], arguments)

    def load_newobj(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self._made(self.stack[-1], arguments)

    def load_newobj_ex(self) -> None:
        self.stack.pop()
        self.load_newobj()

    def load_build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if not isinstance(target, Inert):
            self._note_unusual("sets the state of a plain value")
            return
        if CallArguments not in target.state:
            self._note_unusual(f"changes {target.name} itself, not an instance of it")
        if target.name == _WRAPPER:
            self.stack[-1] = self._array(state)
            return
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self._note_state(target, part)
        if not isinstance(state, dict):
            target.state[OtherState] = state

    def _note_state(self, target: Inert, state: dict[Any, Any]) -> None:
        # One state may be applied to many objects, so each use counts.
        claim(self._notes, _STATE_ENTRY_BYTES * len(state), self._limit)
        dunder = next((key for key in state if isinstance(key, str) and key.startswith("__")), None)
        if dunder is not None:
            self._note_unusual(f"sets {dunder} of {target.name}, a name that belongs to Python itself")
        version = state.get("_sklearn_version")
        if isinstance(version, str):
            self._notes.note_version("scikit-learn", version)
        target.state.update(state)

    def _array(self, state: Any) -> InertArray:
        if not isinstance(state, dict):
            raise ContradictoryFile("It holds an array without shape or type.")
        alignment = state.get("numpy_array_alignment_bytes")
        self._notes.note_version("joblib", ">=1.2" if alignment is not None else "<1.2")
        itemsize, has_objects = item_bytes(state.get("dtype"))
        count = item_count(state.get("shape"))
        if has_objects:
            claim(self._notes, count * itemsize, self._limit)
            nested = InertUnpickler(self._stream, self._notes, limit=self._limit, depth=self._depth + 1).load()
            return nested if isinstance(nested, InertArray) else InertArray(object_items(nested))
        if alignment is not None:
            self._exactly(self._exactly(1)[0])
        self._skip(count * itemsize)
        return InertArray([])

    def load_append(self) -> None:
        value = self.stack.pop()
        self._extend([value])

    def load_appends(self) -> None:
        self._extend(self.pop_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        else:
            self._note_unusual("appends to a value that is not a list")

    def load_setitem(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self._set_items([key, value])

    def load_setitems(self) -> None:
        self._set_items(self.pop_mark())

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        pairs = {_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)}
        if isinstance(target, Inert):
            if target.name.startswith(_LIBRARIES) and target.name not in _DICTIONARIES:
                self._note_unusual(f"sets items of a {target.name}, which has no items")
            self._note_state(target, pairs)
        elif isinstance(target, dict):
            target.update(pairs)
        else:
            self._note_unusual("sets items of a value that is not a dictionary")

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({_key(key): value for key, value in zip(items[::2], items[1::2], strict=True)})

    def load_additems(self) -> None:
        self._extend_set(self.pop_mark())

    def _extend_set(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            self._note_unusual("adds items to a value that is not a set")

    def load_empty_set(self) -> None:
        self.append([])

    def load_frozenset(self) -> None:
        self.append(self.pop_mark())

    def load_binunicode(self) -> None:
        self._text(struct.unpack("<I", self._exactly(4))[0], _as_text)

    def load_binunicode8(self) -> None:
        self._text(struct.unpack("<Q", self._exactly(8))[0], _as_text)

    def load_short_binunicode(self) -> None:
        self._text(self._exactly(1)[0], _as_text)

    def load_binbytes(self) -> None:
        self._text(struct.unpack("<I", self._exactly(4))[0], bytes)

    def load_binbytes8(self) -> None:
        self._text(struct.unpack("<Q", self._exactly(8))[0], bytes)

    def load_bytearray8(self) -> None:
        self._text(struct.unpack("<Q", self._exactly(8))[0], bytes)

    def load_binstring(self) -> None:
        length = struct.unpack("<i", self._exactly(4))[0]
        if length < 0:
            raise ContradictoryFile("It holds a text of a negative length.")
        self._text(length, _as_latin)

    def load_long4(self) -> None:
        self._long(struct.unpack("<i", self._exactly(4))[0])

    def load_long1(self) -> None:
        self._long(self._exactly(1)[0])

    def _long(self, length: int) -> None:
        if not 0 <= length <= _MAX_TEXT_LENGTH:
            raise ContradictoryFile(f"It holds a number of {length} bytes.")
        self.append(int.from_bytes(self._exactly(length), "little", signed=True))

    def _unusual(self) -> NoReturn:
        raise ContradictoryFile(
            "It uses an instruction that joblib never writes (a persistent id, an extension or an instance call)."
        )

    for _code, _method in (
        (pickle.PROTO, load_proto), (pickle.FRAME, load_frame), (pickle.REDUCE, load_reduce),
        (pickle.NEWOBJ, load_newobj), (pickle.NEWOBJ_EX, load_newobj_ex), (pickle.BUILD, load_build),
        (pickle.APPEND, load_append), (pickle.APPENDS, load_appends), (pickle.SETITEM, load_setitem),
        (pickle.SETITEMS, load_setitems), (pickle.DICT, load_dict), (pickle.ADDITEMS, load_additems),
        (pickle.EMPTY_SET, load_empty_set), (pickle.FROZENSET, load_frozenset),
        (pickle.BINUNICODE, load_binunicode), (pickle.BINUNICODE8, load_binunicode8),
        (pickle.SHORT_BINUNICODE, load_short_binunicode), (pickle.BINBYTES, load_binbytes),
        (pickle.BINSTRING, load_binstring), (pickle.UNICODE, load_unicode), (pickle.STRING, load_string),
        (pickle.BINBYTES8, load_binbytes8), (pickle.BYTEARRAY8, load_bytearray8),
        (pickle.LONG1, load_long1), (pickle.LONG4, load_long4),
        (pickle.PERSID, _unusual), (pickle.BINPERSID, _unusual), (pickle.EXT1, _unusual),
        (pickle.EXT2, _unusual), (pickle.EXT4, _unusual), (pickle.INST, _unusual), (pickle.OBJ, _unusual),
        (pickle.NEXT_BUFFER, _unusual), (pickle.READONLY_BUFFER, _unusual),
    ):  # fmt: skip
        dispatch[_code[0]] = _method
    del _code, _method


def _as_latin(data: bytes) -> str:
    return data.decode("latin1")


def _as_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def inspect_joblib(path: Path, notes: InspectionNotes, *, limit: int) -> None:
    """Note the names, contents and problems of a joblib file."""
    if not path.stat().st_size:
        notes.problems.append("The artifact is an empty file. Copy it again.")
        return
    try:
        with open_stream(path) as stream:
            root = InertUnpickler(stream, notes, limit=limit).load()
    except (TruncatedFile, EOFError) as stop:
        found = stop if isinstance(stop, TruncatedFile) else "Its compressed data ends early."
        notes.problems.append(
            f"The artifact is not a complete joblib file. {found} It was probably truncated during a copy: copy it "
            "again."
        )
        return
    except ContradictoryFile as stop:
        notes.problems.append(
            f"The artifact is not a regular joblib file. {stop} It is damaged or crafted; publish it again from its "
            "training script."
        )
        return
    notes.outline.extend(object_tree_of(root))
