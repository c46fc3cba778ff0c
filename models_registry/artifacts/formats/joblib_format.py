"""Loads joblib artifacts, and runs only code on the list of trusted names.

joblib's own reader is a pickle reader, which calls any function that the file names. This reader executes only what
ordinary files contain: listed names, instances of listed classes, and plain containers.
"""

import io
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from models_registry.artifacts import codes
from models_registry.artifacts.formats import arrays, arrow_strings, pandas_values
from models_registry.artifacts.formats.compression import open_stream
from models_registry.artifacts.formats.joblib_inspection import MAX_NESTING
from models_registry.artifacts.formats.joblib_rules import (
    ARGUMENT_RULES,
    bound_method,
    new_instance,
    refuse,
    refuse_dunder_keys,
    untrusted_name,
)
from models_registry.artifacts.formats.migrations.names import STAND_INS, current_name
from models_registry.artifacts.formats.trusted import (
    RECONSTRUCTOR,
    TrustedGlobals,
    builtin_trust,
)
from models_registry.artifacts.object_graph import is_definition
from models_registry.artifacts.other_packages import missing_package
from models_registry.errors import ArtifactError, BrokenArtifact

MIN_JOBLIB = (1, 6)


class ArrayRecord:
    """Replaces joblib's array wrapper in the stream; the array's bytes follow it."""


class MappedArray:
    """Replaces `numpy.memmap`: files of memory-mapped arrays name it, but it would open a file at any path."""


_STAND_INS: dict[str, Any] = {
    RECONSTRUCTOR: new_instance,
    "pandas._libs.arrays.__pyx_unpickle_NDArrayBacked": pandas_values.new_string_array,
    "pandas.arrays.ArrowStringArray": pandas_values.ArrowStringArray,
    "pandas.StringDtype": pandas_values.string_type,
    **arrow_strings.STAND_INS,
    "joblib.numpy_pickle.NumpyArrayWrapper": ArrayRecord,
    "numpy.memmap": MappedArray,
    "builtins.getattr": bound_method,
}
_RUNNABLE_STAND_INS = (
    ArrayRecord,
    bound_method,
    new_instance,
    pandas_values.new_string_array,
    pandas_values.ArrowStringArray,
    pandas_values.string_type,
    *arrow_strings.STAND_INS.values(),
)


def refuse_old_joblib(version: str) -> None:
    """Refuse joblib before 1.6, whose reader of object arrays is an unrestricted pickle reader."""
    found = tuple(int(part) for part in version.split(".")[:2])
    if found < MIN_JOBLIB:
        raise BrokenArtifact(
            f"joblib {version} is installed, and reads object arrays without any check; 1.6 or newer is needed. "
            "Install the pinned requirements."
        )


class TrustedUnpickler(pickle._Unpickler):
    """A pickle reader for joblib that resolves only exact names and refuses unusual instructions."""

    dispatch: ClassVar[Any] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    metastack: list[list[Any]]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]
    readinto: Callable[[Any], int]

    def __init__(self, stream: "io.BufferedReader[Any]", trust: TrustedGlobals, *, depth: int = 0) -> None:
        super().__init__(stream)
        self._stream = stream
        self._trust = trust
        self._names = trust.all
        self._runnable = trust.runnable
        self._depth = depth
        # Imported here: the table imports scikit-learn, which commands that open no artifact need not wait for.
        from models_registry.artifacts.formats.migrations.table import migrate

        self._migrate = migrate
        self._resolved: dict[str, Any] = {}
        self._resolved_ids: set[int] = set()
        self._may_run: set[int] = set()
        self._rules: dict[int, Callable[[tuple[Any, ...]], None]] = {}
        if depth > MAX_NESTING:
            refuse(f"nests arrays of objects more than {MAX_NESTING} deep")

    def load(self) -> Any:
        """Return the object in the stream.

        Frames are only read-ahead hints. The stream is already buffered, so they are skipped.
        """
        self.read = self._stream.read
        self.readline = self._stream.readline
        self.readinto = self._stream.readinto
        self.metastack = []
        self.stack = []
        self.append = self.stack.append
        self.proto = 0
        dispatch = cast("dict[int, Callable[[TrustedUnpickler], None]]", self.dispatch)
        read = self.read
        try:
            while True:
                key = read(1)
                if not key:
                    raise EOFError("the pickle ends early")
                dispatch[key[0]](self)
        except pickle._Stop as stop:  # type: ignore[attr-defined]
            return stop.value

    def find_class(self, module: str, name: str) -> Any:
        """Return the object of an exact name on the list; other names are not even imported."""
        module, name = current_name(module, name)
        full = f"{module}.{name}"
        found = self._resolved.get(full)
        if found is not None:
            return found
        if "." in name:
            refuse(f"names {full} by a path through {module}")
        found = _STAND_INS.get(full)
        if found is None:
            if full not in self._names and full not in STAND_INS:
                raise untrusted_name(full)
            found = _import(module, name)
        self._resolved[full] = found
        self._resolved_ids.add(id(found))
        if full in ARGUMENT_RULES:
            self._rules[id(found)] = ARGUMENT_RULES[full]
        if full in self._runnable or full in STAND_INS or found in _RUNNABLE_STAND_INS:
            self._may_run.add(id(found))
        return found

    def _require_runnable(self, function: Any) -> None:
        if id(function) not in self._may_run:
            name = getattr(function, "__name__", type(function).__name__)
            module = getattr(function, "__module__", "?")
            refuse(f"calls {module}.{name} while it is loaded, where that may only be mentioned")

    def load_frame(self) -> None:
        self.read(8)

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        function = self.stack[-1]
        self._require_runnable(function)
        if type(arguments) is not tuple:
            refuse("calls something with no list of arguments")
        rule = self._rules.get(id(function))
        if rule is not None:
            rule(arguments)
        if function is new_instance:
            self._require_instantiable(arguments[0])
        self.stack[-1] = function(*arguments)

    def _require_instantiable(self, cls: Any) -> None:
        self._require_runnable(cls)
        if not isinstance(cls, type) or id(cls) in self._rules:
            refuse("makes an instance in an unusual way")

    def load_newobj(self) -> None:
        arguments = self.stack.pop()
        cls = self.stack.pop()
        self._require_instantiable(cls)
        self.append(cls.__new__(cls, *arguments))

    def load_newobj_ex(self) -> None:
        keywords = self.stack.pop()
        arguments = self.stack.pop()
        cls = self.stack.pop()
        self._require_instantiable(cls)
        self.append(cls.__new__(cls, *arguments, **keywords))

    def load_build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if type(target) is ArrayRecord:
            self.stack[-1] = self._array(state)
        elif isinstance(target, np.dtype):
            arrays.set_dtype_state(target, state)
        elif isinstance(target, np.ma.MaskedArray):
            arrays.checked_masked_state(state)
            target.__setstate__(state)
        elif isinstance(target, np.ndarray):
            arrays.checked_array_state(target, state)
            target.__setstate__(state)
        else:
            if pandas_values.is_string_array(target):
                if type(state) is dict:
                    state = pandas_values.python_string_state(state)
                pandas_values.checked_string_state(state)
            self._set_state(target, state)

    def _set_state(self, target: Any, state: Any) -> None:
        # State on a class or function would outlast the load and change it for the whole process.
        if isinstance(target, type) or id(target) in self._resolved_ids or is_definition(target):
            refuse(f"changes {getattr(target, '__name__', target)!r} itself")
        if isinstance(target, list | dict | set | tuple | str | bytes | int | float) and not hasattr(
            target, "__dict__"
        ):
            refuse("sets the state of a plain value")
        refuse_dunder_keys(state)
        state = self._migrate(target, state)
        if type(target).__name__ == "Tree" and len(state["nodes"]) != state["node_count"]:
            # scikit-learn would trust the count, and read out of bounds.
            refuse("holds a decision tree with another number of nodes than it says")
        self.stack.append(state)
        super().load_build()  # type: ignore[misc]

    def _array(self, state: Any) -> Any:
        if type(state) is not dict or not {"dtype", "shape", "order"} <= state.keys():
            refuse("holds an array without shape or type")
        dtype = state["dtype"]
        if not isinstance(dtype, np.dtype):
            refuse("holds an array without a type")
        shape = arrays.checked_shape(state["shape"])
        if dtype.hasobject:
            nested = TrustedUnpickler(self._stream, self._trust, depth=self._depth + 1).load()
            if not isinstance(nested, np.ndarray):
                refuse("holds something else where it says that an array of objects follows")
            return nested
        if state.get("numpy_array_alignment_bytes") is not None:
            self.read(self.read(1)[0])
        return arrays.read_array_data(self._stream, dtype, shape, state["order"])

    def load_append(self) -> None:
        value = self.stack.pop()
        self._list().append(value)

    def load_appends(self) -> None:
        items = self.pop_mark()
        self._list().extend(items)

    def _list(self) -> list[Any]:
        target = self.stack[-1]
        if type(target) is not list:
            refuse(f"appends to {type(target).__name__}")
        return target

    def load_setitem(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self._set_items([key, value])

    def load_setitems(self) -> None:
        self._set_items(self.pop_mark())

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            refuse(f"sets items of {type(target).__name__}")
        keys = items[::2]
        if type(target) is not dict:
            # A dictionary with attribute access, such as scikit-learn's Bunch, would expose these keys as numpy's
            # interfaces to raw memory.
            refuse_dunder_keys(dict.fromkeys(key for key in keys if type(key) is str))
        target.update(zip(keys, items[1::2], strict=True))

    def load_additems(self) -> None:
        items = self.pop_mark()
        target = self.stack[-1]
        if type(target) is not set:
            refuse(f"adds items to {type(target).__name__}")
        target.update(items)

    def load_bytearray8(self) -> None:
        # Data first: an array allocated with the declared length would fill memory with zeros.
        length = int.from_bytes(self.read(8), "little")
        self.append(bytearray(self.read(length)))

    def _unusual(self) -> None:
        refuse("uses an instruction that joblib never writes (a persistent id, an extension or an instance call)")

    for _code, _method in (
        (pickle.FRAME, load_frame),
        (pickle.REDUCE, load_reduce),
        (pickle.NEWOBJ, load_newobj),
        (pickle.NEWOBJ_EX, load_newobj_ex),
        (pickle.BUILD, load_build),
        (pickle.APPEND, load_append),
        (pickle.APPENDS, load_appends),
        (pickle.SETITEM, load_setitem),
        (pickle.SETITEMS, load_setitems),
        (pickle.ADDITEMS, load_additems),
        (pickle.BYTEARRAY8, load_bytearray8),
        (pickle.PERSID, _unusual),
        (pickle.BINPERSID, _unusual),
        (pickle.EXT1, _unusual),
        (pickle.EXT2, _unusual),
        (pickle.EXT4, _unusual),
        (pickle.INST, _unusual),
        (pickle.OBJ, _unusual),
        (pickle.NEXT_BUFFER, _unusual),
        (pickle.READONLY_BUFFER, _unusual),
    ):
        dispatch[_code[0]] = _method
    del _code, _method


def _import(module: str, name: str) -> Any:
    try:
        __import__(module)
        return getattr(sys.modules[module], name)
    except (ImportError, AttributeError) as error:
        if isinstance(error, ImportError) and (missing := missing_package(module)):
            raise BrokenArtifact(missing) from error
        raise BrokenArtifact(
            f"The artifact needs {module}.{name}, which the installed packages do not have.",
            advice="It was probably trained with other versions; train and publish it again with the server's.",
            code=codes.NAME_NOT_INSTALLED,
        ) from error


def open_joblib(path: Path, *, trusted: frozenset[str], allow_any_pickle: bool) -> Any:
    """Return the object in a joblib file; only `allow_any_pickle` runs names that are not on the list."""
    import joblib

    refuse_old_joblib(joblib.__version__)
    if allow_any_pickle:
        return joblib.load(path)
    with open_stream(path) as stream:
        trust = builtin_trust().with_additions(trusted)
        try:
            return TrustedUnpickler(stream, trust).load()
        except ArtifactError:
            raise
        except Exception as error:
            # A damaged file can raise any exception of the instructions (EOFError, KeyError: 60, …).
            raise BrokenArtifact(
                f"The artifact cannot be read as a joblib file ({type(error).__name__}: {error}).",
                advice="Publish it again.",
                code=codes.UNREADABLE,
            ) from error
