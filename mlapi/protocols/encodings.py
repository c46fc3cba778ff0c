"""Bodies are UTF-8; what looks like another encoding is named."""

from __future__ import annotations

from mlapi.protocols.base import HttpError


def decode_csv(body: bytes) -> str:
    """Return the text of a CSV, without its byte order mark; an HttpError 400 where it is no UTF-8."""
    problem = encoding_hint(body)
    try:
        if not problem:
            return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = f" ({error.reason}). Save it as UTF-8."
    raise HttpError(400, "invalid_csv", f"The CSV is no valid UTF-8{problem}")


def encoding_hint(raw: bytes | memoryview) -> str:
    """Return the end of a sentence about a body in UTF-16 or UTF-32, as shells of Windows write it; else nothing."""
    start = bytes(raw[:4])
    # Either has a mark, or a zero beside each character of ASCII.
    is_wide = start[:2] in (b"\xff\xfe", b"\xfe\xff") or (len(start) > 1 and not (any(start[::2]) and any(start[1::2])))
    return ". It looks like UTF-16 or UTF-32: send UTF-8." if is_wide else ""
