"""Malicious joblib files, each of which leaves a mark when it gets its way.

Most touch the file `mark`; those that delete take away `canary`. None does anything else.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lz4.frame
import numpy as np
from sklearn.tree import DecisionTreeClassifier
from sklearn.tree._tree import Tree

PROTO = b"\x80\x04"
STOP = b"."


def value(content: object) -> bytes:
    """Return the instructions that push a plain value."""
    return pickle.dumps(content, 2)[2:-1]


def name(module: str, attribute: str) -> bytes:
    """Return the instructions that push a global."""
    return value(module) + value(attribute) + b"\x93"


def called(function: bytes, *arguments: object) -> bytes:
    """Return the instructions that call what `function` pushes; bytes-like arguments are `Raw` instructions."""
    parts = b"".join(one.code if isinstance(one, Raw) else value(one) for one in arguments)
    return function + b"(" + parts + b"tR"


class Raw:
    """Instructions among arguments."""

    def __init__(self, code: bytes) -> None:
        self.code = code


def file(code: bytes) -> bytes:
    """Return a whole pickle."""
    return PROTO + code + STOP


def built(target: bytes, state: bytes) -> bytes:
    """Return the instructions that set a state."""
    return target + state + b"b"


def instance(module: str, cls: str, state: object) -> bytes:
    """Return the instructions for an instance with a state."""
    return built(name(module, cls) + b")\x81", value(state))


def z_file(content: bytes) -> bytes:
    """Return joblib's format before 0.10."""
    length = hex(len(content)).ljust(len(hex(2**64))).encode()
    return b"ZF" + length + zlib.compress(content)


def array_dtype(kind: str, state: object) -> bytes:
    return built(called(name("numpy", "dtype"), kind, False, True), value(state))


def joblib_array(dtype: bytes, shape: tuple[int, ...], after: bytes) -> bytes:
    """Return the instructions of a joblib array whose bytes are `after`."""
    state = (
        b"}("
        + value("subclass") + name("numpy", "ndarray")
        + value("shape") + value(shape)
        + value("order") + value("C")
        + value("dtype") + dtype
        + value("allow_mmap") + value(False)
        + value("numpy_array_alignment_bytes") + value(None)
        + b"u"
    )  # fmt: skip
    return built(name("joblib.numpy_pickle", "NumpyArrayWrapper") + b")\x81", state) + after


class _Rebuilt:
    """Pickles as a call of its own choice."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


def _rebuilt(*reduced: Any) -> bytes:
    return pickle.dumps(_Rebuilt(*reduced), 4)


def _tree_of_more_nodes() -> bytes:
    tree = DecisionTreeClassifier().fit([[0.0], [1.0]], [0, 1]).tree_
    state = {**tree.__getstate__(), "node_count": 1 << 20}
    return _rebuilt(Tree, (1, np.array([2]), 1), state)


LOGISTIC = ("sklearn.linear_model._logistic", "LogisticRegression")
FOREST = ("sklearn.ensemble._forest", "RandomForestClassifier")


class Attacks:
    """The files, made for one directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = folder / "mark"
        self.canary = folder / "canary"
        self.command = f"touch {self.mark}"
        self.python = f"open({str(self.mark)!r}, 'w').close()"
        self.system = called(name("os", "system"), self.command)
        self.nested = folder / "nested.pickle"
        self.script = folder / "script.py"

    def prepare(self) -> None:
        """Put down what the attacks use, and take away what others left."""
        self.mark.unlink(missing_ok=True)
        self.mark.with_suffix(".npy").unlink(missing_ok=True)
        self.canary.mkdir(exist_ok=True)
        self.nested.write_bytes(file(self.system))
        self.script.write_text(self.python)

    def has_fired(self) -> bool:
        """Say whether an attack got its way."""
        return self.mark.exists() or self.mark.with_suffix(".npy").exists() or not self.canary.exists()

    def all(self) -> dict[str, bytes]:
        """Return every file by its name."""
        return {**self._gadgets(), **self._compressed(), **self._instructions(), **self._states()}

    def firing(self) -> dict[str, bytes]:
        """Return those that leave a mark when `joblib.load` reads them."""
        return {**self._gadgets(), **self._compressed()}

    def _gadgets(self) -> dict[str, bytes]:
        mark, canary, nested, script = str(self.mark), str(self.canary), str(self.nested), str(self.script)
        python, command = self.python, self.command
        simple: dict[str, tuple[str, str, tuple[Any, ...]]] = {
            "os.system": ("os", "system", (command,)),
            "posix.system": ("posix", "system", (command,)),
            "subprocess.check_output": ("subprocess", "check_output", (["touch", mark],)),
            "subprocess.call": ("subprocess", "call", (["touch", mark],)),
            "os.mkdir": ("os", "mkdir", (mark,)),
            "os.rmdir": ("os", "rmdir", (canary,)),
            "shutil.rmtree": ("shutil", "rmtree", (canary,)),
            "builtins.exec": ("builtins", "exec", (python,)),
            "builtins.eval": ("builtins", "eval", (python,)),
            "builtins.open": ("builtins", "open", (mark, "w")),
            "io.FileIO": ("_io", "FileIO", (mark, "w")),
            "logging.FileHandler": ("logging", "FileHandler", (mark,)),
            "timeit.timeit": ("timeit", "timeit", (python, "pass", Raw(name("time", "time")), 1)),
            "cProfile.run": ("cProfile", "run", (python, str(self.folder / "profile"))),
            "runpy.run_path": ("runpy", "run_path", (script,)),
            "pickle.loads": ("pickle", "loads", (file(self.system),)),
            "_pickle.loads": ("_pickle", "loads", (file(self.system),)),
            "joblib.load": ("joblib.numpy_pickle", "load", (nested,)),
            "joblib.dump": ("joblib.numpy_pickle", "dump", (1, mark)),
            "joblib.disk.delete_folder": ("joblib.disk", "delete_folder", (canary,)),
            "joblib dotted": ("joblib.numpy_pickle", "os.system", (command,)),
            "sklearn dotted": ("sklearn.datasets._base", "shutil.rmtree", (canary,)),
            "numpy.load": ("numpy", "load", (nested, None, True)),
            "numpy.save": ("numpy", "save", (mark, [1.0])),
            "numpy.savetxt": ("numpy", "savetxt", (mark, [1.0])),
            "numpy.memmap": ("numpy", "memmap", (mark, "uint8", "w+", 0, (4,))),
            "numpy runstring": ("numpy.testing._private.utils", "runstring", (python, {})),
            "numpy measure": ("numpy.testing._private.utils", "measure", (python,)),
            "numpy f2py": ("numpy.f2py.crackfortran", "myeval", (f"open({mark!r}, 'w').close() or 1",)),
            "sklearn clear_data_home": ("sklearn.datasets._base", "clear_data_home", (canary,)),
            "pandas.read_pickle": ("pandas.io.pickle", "read_pickle", (nested,)),
        }
        files = {key: file(called(name(module, attribute), *args)) for key, (module, attribute, args) in simple.items()}
        fetched = called(name("builtins", "getattr"), Raw(called(name("builtins", "__import__"), "os")), "system")
        partial = called(name("functools", "partial"), Raw(name("os", "system")), command)
        caller = called(name("operator", "methodcaller"), "system", command)
        return {
            **files,
            "getattr chain": file(called(fetched, command)),
            "partial": file(called(partial)),
            "methodcaller": file(called(caller, Raw(called(name("importlib", "import_module"), "os")))),
            "scipy distribution": self._distribution(),
            "text pickle": b"cposix\nsystem\n(S'" + command.encode() + b"'\ntR.",
            "INST": b"(S'" + command.encode() + b"'\niposix\nsystem\n.",
            "OBJ": b"(cposix\nsystem\nS'" + command.encode() + b"'\no.",
            "Z-file": z_file(file(self.system)),
            "array of objects": self._array_of_objects(),
            "inside a pipeline": file(self._pipeline()),
            "loose array wrapper": self._loose_wrapper(),
        }

    def _distribution(self) -> bytes:
        state = {"_parse_arg_template": f"import os; os.system({self.command!r})", "_ctor_param": {}}
        made = name("scipy.stats._continuous_distns", "uniform_gen") + b")\x81"
        return file(built(made, value(state)))

    def _array_of_objects(self) -> bytes:
        dtype = array_dtype("O8", (3, "|", None, None, None, -1, -1, 63))
        return file(joblib_array(dtype, (1,), file(self.system)))

    def _pipeline(self) -> bytes:
        steps = b"](" + value("step") + self.system + b"\x86e"
        return built(name("sklearn.pipeline", "Pipeline") + b")\x81", b"}(" + value("steps") + steps + b"u")

    def _loose_wrapper(self) -> bytes:
        # The class that joblib used before 0.10 reads the file that it names with numpy.load and pickle allowed.
        state = {"filename": str(self.nested), "allow_mmap": False}
        made = name("joblib.numpy_pickle", "NDArrayWrapper") + b")\x81"
        return file(built(made, value(state)))

    def _compressed(self) -> dict[str, bytes]:
        plain = file(self.system)
        compress: dict[str, Callable[[bytes], bytes]] = {
            "zlib": zlib.compress,
            "gzip": gzip.compress,
            "bz2": bz2.compress,
            "xz": lzma.compress,
            "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
            "lz4": lz4.frame.compress,
        }
        return {f"os.system in {key}": function(plain) for key, function in compress.items()}

    def _instructions(self) -> dict[str, bytes]:
        estimator = instance(*LOGISTIC, {"C": 1.0})
        return {
            "persistent id": file(value("x") + b"Q"),
            "persistent id as text": b"Px\n.",
            "extension": file(b"\x82\x01"),
            "out of band buffer": file(b"\x97"),
            "append to an estimator": file(estimator + value(1) + b"a"),
            "set items of an estimator": file(estimator + value("C") + value(2) + b"s"),
            "call an instance": file(called(estimator, 1)),
            "state of a class": file(built(name(*LOGISTIC), b"N" + value({"predict": 1}) + b"\x86")),
            "state of joblib's wrapper": file(
                built(name("joblib.numpy_pickle", "NumpyArrayWrapper"), b"N" + value({"read_array": None}) + b"\x86")
            ),
            "state of a function": file(built(name("numpy", "mean"), b"N" + value({"__doc__": "x"}) + b"\x86")),
            "ufunc reconstruct": file(called(name("numpy._core", "_ufunc_reconstruct"), "os", "system")),
            "a ufunc called": file(called(name("numpy", "log1p"), 1.0)),
            "an array made": file(called(name("numpy", "ndarray"), (1 << 40,))),
            "a length of no file": file(b"\x8e" + struct.pack("<Q", 1 << 60)),
        }

    def _states(self) -> dict[str, bytes]:
        raw_memory = {"data": (8, False), "shape": (8,), "typestr": "|u1", "version": 3}
        hidden_code = (
            called(name("numpy", "dtype"), "V8", False, True)
            + b"(" + value(3) + value("|") + b"N" + value(("a",))
            + b"}" + value("a") + called(name("numpy", "dtype"), "O8", False, True) + value(0) + b"\x86s"
            + value(8) + value(1) + value(0) + b"tb"
        )  # fmt: skip
        bunch = name("sklearn.utils._bunch", "Bunch") + b")\x81" + b"(" + value("__array_interface__")
        short = called(name("numpy._core.multiarray", "_reconstruct"), Raw(name("numpy", "ndarray")), (0,), b"b")
        return {
            "raw memory of an estimator": file(instance(*LOGISTIC, {"__array_interface__": raw_memory})),
            "raw memory of a bunch": file(bunch + value(raw_memory) + b"u"),
            "class of an estimator": file(
                built(name(*LOGISTIC) + b")\x81", b"N" + value({"__class__": 1}) + b"\x86")
            ),
            "hidden object in a type": file(joblib_array(hidden_code, (1,), b"A" * 8)),
            "shared type turned around": file(
                built(called(name("numpy", "dtype"), "f8"), value((3, ">", None, None, None, -1, -1, 0)))
            ),
            "too short a list of objects": file(
                built(
                    short,
                    b"(" + value(1) + value((9,)) + array_dtype("O8", (3, "|", None, None, None, -1, -1, 63))
                    + value(False) + value([1]) + b"t",
                )
            ),
            "too short a list of masked objects": file(
                built(
                    called(
                        name("numpy.ma.core", "_mareconstruct"), Raw(name("numpy.ma", "MaskedArray")),
                        Raw(name("numpy", "ndarray")), (0,), b"b",
                    ),
                    b"(" + value(1) + value((9,)) + array_dtype("O8", (3, "|", None, None, None, -1, -1, 63))
                    + value(False) + value([1]) + b"C\x00" + b"N" + b"t",
                )
            ),
            "a type of pointers to text": file(called(name("numpy", "dtype"), "T", False, True)),
            "tree of more nodes than it has": _tree_of_more_nodes(),
            "tree of more outputs than classes": _rebuilt(Tree, (1, np.array([2]), 1 << 20)),
        }  # fmt: skip
