"""Inspects an artifact without execution."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_registry.artifacts import pack, sandbox
from models_registry.artifacts.inspection_notes import InspectionNotes, LimitReached
from models_registry.errors import ArtifactError, UnsupportedFormat

MAX_NAMES = 1_000
_TASK = "models_registry.artifacts.inspection_task"
# An ordinary file needs several times its size in memory; one that needs more is crafted.
_MIN_MEMORY_BYTES = 512_000_000
_MEMORY_PER_BYTE = 8
_MAX_NAME_LENGTH = 200
_MAX_PROBLEM_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Inspection:
    """Data about a file, collected before any of it runs.

    `globals` are the exact names (joblib), types (skops) or operations (ONNX) in the file. `called` are those that
    loading calls or instantiates. `versions` holds the package versions that wrote the file; for some, only a minimum
    such as `>=2.0` is known. `claimed_bytes` is the declared memory of its arrays and texts, `outline` the estimator's
    steps as indented lines. Each sentence in `problems` refuses the file.
    """

    format: str
    globals: tuple[str, ...]
    called: tuple[str, ...]
    versions: Mapping[str, tuple[str, ...]]
    claimed_bytes: int
    outline: tuple[str, ...]
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the inspection as JSON values."""
        return {
            "format": self.format,
            "globals": list(self.globals),
            "called": list(self.called),
            "versions": {name: list(found) for name, found in self.versions.items()},
            "claimed_bytes": self.claimed_bytes,
            "outline": list(self.outline),
            "problems": list(self.problems),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Inspection":
        """Return the inspection from `to_json`'s form."""
        return cls(
            format=values["format"],
            globals=tuple(values["globals"]),
            called=tuple(values["called"]),
            versions={name: tuple(found) for name, found in values["versions"].items()},
            claimed_bytes=values["claimed_bytes"],
            outline=tuple(values["outline"]),
            problems=tuple(values["problems"]),
        )


def _joblib(path: Path, notes: InspectionNotes, limit: int) -> None:
    from models_registry.artifacts.formats.joblib_inspection import inspect_joblib

    inspect_joblib(path, notes, limit=limit)


def _skops(path: Path, notes: InspectionNotes, limit: int) -> None:
    from models_registry.artifacts.formats.skops_inspection import inspect_skops

    inspect_skops(path, notes, limit=limit)


def _onnx(path: Path, notes: InspectionNotes, limit: int) -> None:
    from models_registry.artifacts.formats.onnx_inspection import inspect_onnx

    inspect_onnx(path, notes, limit=limit)


def _bundle(path: Path, notes: InspectionNotes, limit: int) -> None:
    with pack.unpacked(path) as content:
        for name, member in content.members.items():
            lines = len(notes.outline)
            _INSPECTORS[content.format](member, notes, limit)
            if len(content.members) > 1:
                notes.outline[lines:] = [f"{name}:", *(f"  {line}" for line in notes.outline[lines:])]


def _xgboost(path: Path, notes: InspectionNotes, limit: int) -> None:
    from models_registry.artifacts.boosters.inspection import inspect_xgboost

    inspect_xgboost(path, notes, limit=limit)


def _lightgbm(path: Path, notes: InspectionNotes, limit: int) -> None:
    from models_registry.artifacts.boosters.inspection import inspect_lightgbm

    inspect_lightgbm(path, notes, limit=limit)


_INSPECTORS: dict[str, Callable[[Path, InspectionNotes, int], None]] = {
    "joblib": _joblib,
    "skops": _skops,
    "onnx": _onnx,
    pack.FORMAT: _bundle,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
}


def inspect_artifact(path: Path, format: str, *, max_claimed_bytes: int) -> Inspection:
    """Inspect an artifact; a broken or hostile file becomes a problem, never an exception.

    Inspection stops at `max_claimed_bytes`, so that a decompression bomb costs neither memory nor time.
    """
    inspector = _INSPECTORS.get(format)
    if inspector is None:
        raise UnsupportedFormat(f"{format!r} is not a format; expected one of {', '.join(_INSPECTORS)}.")
    notes = InspectionNotes()
    try:
        inspector(path, notes, max_claimed_bytes)
    except (LimitReached, ArtifactError) as refusal:
        notes.problems.append(str(refusal))
    except OSError:
        # An OSError says nothing about the artifact.
        if not path.is_file():
            raise
        notes.problems.append(f"The artifact's compressed data is damaged. Publish it again as {format}.")
    except MemoryError:
        raise  # the sandbox's memory limit: the sandbox reports it
    except Exception as error:  # noqa: BLE001 - a damaged file may raise any exception
        notes.problems.append(
            f"The artifact cannot be read as {format} ({type(error).__name__}: {error}). Publish it again."
        )
    if format == pack.FORMAT:
        return _frozen(_part_format(path), notes)
    return _frozen(format, _recognised(path, format, notes))


def _part_format(path: Path) -> str:
    """Return the format of a pack's parts, whose rules apply; the pickle format if the pack is unreadable."""
    try:
        with pack.unpacked(path) as content:
            return content.format
    except ArtifactError:
        return "joblib"


def _recognised(path: Path, format: str, notes: InspectionNotes) -> InspectionNotes:
    """Return the notes, or only the note that the file is of another kind."""
    from models_registry.artifacts.formats.recognition import recognise

    # A file that names types is an artifact of some kind, however unusual.
    said = recognise(path, format, by_text=bool(notes.problems) and not notes.globals)
    return notes if said is None else InspectionNotes(problems=[f"The artifact is not a {format} file. {said}"])


def inspect_in_sandbox(path: Path, format: str, *, max_claimed_bytes: int, seconds: float) -> Inspection:
    """Run `inspect_artifact` in its own process, so that a file cannot use up this process's memory or time.

    The limits are `seconds`, and memory in proportion to the file, at most `max_claimed_bytes`.
    """
    if format not in _INSPECTORS:
        raise UnsupportedFormat(f"{format!r} is not a format; expected one of {', '.join(_INSPECTORS)}.")
    limits = sandbox.SandboxLimits(
        memory_bytes=min(max_claimed_bytes, _MIN_MEMORY_BYTES + _MEMORY_PER_BYTE * path.stat().st_size),
        cpu_seconds=seconds,
        wall_seconds=seconds,
        file_size_bytes=sandbox.file_size_for(path),
    )
    question = {"path": str(path.absolute()), "format": format, "max_claimed_bytes": max_claimed_bytes}
    outcome = sandbox.run(_TASK, question, limits)
    if outcome.status == 0 and outcome.report is not None and "inspection" in outcome.report:
        return Inspection.from_json(outcome.report["inspection"])
    notes = InspectionNotes()
    notes.problems.append(_limit_sentence(outcome, limits))
    return _frozen(format, notes)


def _limit_sentence(outcome: sandbox.Outcome, limits: sandbox.SandboxLimits) -> str:
    if outcome.status == 0 and outcome.report is not None:
        return (
            f"The artifact cannot be read within {limits.memory_bytes} bytes of memory, the limit for a file of its "
            "size. It may be crafted; publish a smaller model from the training script."
        )
    failure = sandbox.describe_failure(outcome, limits, what="The inspection")
    return f"{failure} An inspection may take {limits.memory_bytes} bytes of memory and {limits.cpu_seconds:g} s."


def _frozen(format: str, notes: InspectionNotes) -> Inspection:
    return Inspection(
        format=format,
        globals=_sorted(notes.globals),
        called=_sorted(notes.called),
        versions={_shown(name, 80): _sorted(found) for name, found in sorted(notes.versions.items())},
        claimed_bytes=notes.claimed_bytes,
        outline=tuple(_shown(line, _MAX_NAME_LENGTH) for line in notes.outline),
        problems=tuple(dict.fromkeys(_shown(one, _MAX_PROBLEM_LENGTH) for one in notes.problems))[:MAX_NAMES],
    )


def _sorted(names: set[str]) -> tuple[str, ...]:
    return tuple(sorted(_shown(name, _MAX_NAME_LENGTH) for name in names)[:MAX_NAMES])


def _shown(text: str, longest: int) -> str:
    """Return text that can be stored and shown: no control characters, no lone surrogates, limited length."""
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return "".join(character if character.isprintable() else "�" for character in clean[:longest])
