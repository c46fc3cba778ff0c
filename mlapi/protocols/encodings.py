"""Decodes bodies as UTF-8; the error for other bytes names a likely other encoding."""

from __future__ import annotations

from mlapi.protocols.base import HttpError


def decode_csv(body: bytes) -> str:
    """Return the text of a CSV body without its byte order mark; HttpError 400 for invalid UTF-8."""
    problem = encoding_hint(body)
    try:
        if not problem:
            return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = f" ({error.reason}). Save it as UTF-8."
    raise HttpError(400, "invalid_csv", f"The CSV is not valid UTF-8{problem}")


def encoding_hint(raw: bytes | memoryview) -> str:
    """Return a hint if a body looks like UTF-16 or UTF-32, which Windows shells write; else an empty string."""
    start = bytes(raw[:4])
    # Both encodings have a byte order mark, or a zero byte next to each ASCII character.
    is_wide = start[:2] in (b"\xff\xfe", b"\xfe\xff") or (len(start) > 1 and not (any(start[::2]) and any(start[1::2])))
    return ". It looks like UTF-16 or UTF-32: send UTF-8." if is_wide else ""
