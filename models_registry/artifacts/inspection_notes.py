"""The notes that inspections of all formats share."""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class InspectionNotes:
    """Notes of one inspection, collected while a file is read.

    `globals` are the names in the file, `called` those that loading calls or instantiates. Each sentence in `problems`
    is reason enough to refuse the file.
    """

    globals: set[str] = field(default_factory=set)
    called: set[str] = field(default_factory=set)
    versions: dict[str, set[str]] = field(default_factory=dict)
    claimed_bytes: int = 0
    outline: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def note_version(self, package: str, version: str) -> None:
        """Note a version that wrote the file; `>=1.2` means that version or newer, `<1.2` an older one."""
        self.versions.setdefault(package, set()).add(version[:_MAX_VERSION_LENGTH])


_MAX_VERSION_LENGTH = 40


def versions_text(versions: Iterable[str]) -> str:
    """Return noted versions for a sentence, e.g. `1.2 or newer`; an empty text for none."""
    return " and ".join(map(_version_text, versions))


def _version_text(version: str) -> str:
    if version.startswith(">="):
        return f"{version[2:].strip()} or newer"
    return f"older than {version[1:].strip()}" if version.startswith("<") else version


class LimitReached(Exception):
    """A file declares more memory than the limit; the inspection stops. The message is the reason."""


def claim(notes: InspectionNotes, claimed_bytes: int, limit: int) -> None:
    """Add to the declared bytes, and stop the inspection above the limit."""
    notes.claimed_bytes += claimed_bytes
    if notes.claimed_bytes > limit:
        raise LimitReached(
            f"The artifact needs at least {notes.claimed_bytes} bytes of memory; at most {limit} are allowed. "
            "Publish a smaller model, or raise MODELS_CHECK_MEMORY_MB."
        )
