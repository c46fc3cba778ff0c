"""What the inspections of the several formats note down."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class InspectionNotes:
    """Notes of one inspection, filled while a file is read.

    `globals` are the names that the file mentions, `called` those of them that loading it calls or instantiates.
    `problems` are sentences, each of which is reason enough to refuse the file.
    """

    globals: set[str] = field(default_factory=set)
    called: set[str] = field(default_factory=set)
    versions: dict[str, set[str]] = field(default_factory=dict)
    claimed_bytes: int = 0
    outline: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def note_version(self, package: str, version: str) -> None:
        """Note a version that the file betrays; `>=1.2` says that it is that or newer."""
        self.versions.setdefault(package, set()).add(version[:_MAX_VERSION_LENGTH])


_MAX_VERSION_LENGTH = 40


class LimitReached(Exception):
    """A file claims more than the limits allow; the inspection stops there. The message is the reason."""


def claim(notes: InspectionNotes, claimed_bytes: int, limit: int) -> None:
    """Add to the bytes that the file claims, and stop the inspection if they are too many."""
    notes.claimed_bytes += claimed_bytes
    if notes.claimed_bytes > limit:
        raise LimitReached(
            f"The artifact claims at least {notes.claimed_bytes} bytes of memory, the limit is {limit}. "
            "Publish a smaller model, or raise the limit."
        )
