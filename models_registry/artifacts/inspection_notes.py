"""The notes that inspections of all formats share."""

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
        """Note a version that wrote the file; `>=1.2` means that version or newer."""
        self.versions.setdefault(package, set()).add(version[:_MAX_VERSION_LENGTH])


_MAX_VERSION_LENGTH = 40


class LimitReached(Exception):
    """A file declares more memory than the limit; the inspection stops. The message is the reason."""


def claim(notes: InspectionNotes, claimed_bytes: int, limit: int) -> None:
    """Add to the declared bytes, and stop the inspection above the limit."""
    notes.claimed_bytes += claimed_bytes
    if notes.claimed_bytes > limit:
        raise LimitReached(
            f"The artifact claims at least {notes.claimed_bytes} bytes of memory, the limit is {limit}. "
            "Publish a smaller model, or raise the limit."
        )
