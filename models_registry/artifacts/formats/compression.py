"""Reads all of joblib's compressions as one stream with limits."""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from models_registry.errors import BrokenArtifact, UntrustedArtifact

_BLOCK_BYTES = 1 << 16
_BUFFER_BYTES = 1 << 20
# xz and lzma files declare their dictionary size, up to 4 GB; the strongest preset needs 65 MB.
_LZMA_MEMORY_BYTES = 128 << 20


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Zlib:
    """zlib's decompressor with the interface of those of bz2 and lzma."""

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def _lz4() -> _Decompressor:
    try:
        import lz4.frame  # type: ignore[import-untyped]
    except ImportError as error:
        raise BrokenArtifact(
            "The artifact is compressed with lz4, and the package lz4 is not installed here. "
            "Install it, or publish the artifact with another compression."
        ) from error
    return cast(_Decompressor, lz4.frame.LZ4FrameDecompressor())


_DECOMPRESSORS: dict[bytes, tuple[str, Callable[[], _Decompressor]]] = {
    b"\x78": ("zlib", lambda: _Zlib(zlib.MAX_WBITS)),
    b"\x1f\x8b": ("gzip", lambda: _Zlib(zlib.MAX_WBITS | 16)),
    b"BZ": ("bz2", bz2.BZ2Decompressor),
    b"\xfd7zXZ": ("xz", lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY_BYTES)),
    b"\x5d\x00": ("lzma", lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY_BYTES)),
    b"\x04\x22\x4d\x18": ("lz4", _lz4),
}
_MAX_PREFIX_LENGTH = 8
_LEGACY_PREFIX = b"ZF"


class _Inflated(io.RawIOBase):
    """The decompressed bytes of a file, produced on demand, so that a decompression bomb does not fill memory."""

    def __init__(self, raw: BinaryIO, decompressor: _Decompressor) -> None:
        super().__init__()
        self._raw = raw
        self._decompressor = decompressor

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._decompressor.eof:
            block = self._raw.read(_BLOCK_BYTES) if self._decompressor.needs_input else b""
            produced = self._decompressor.decompress(block, len(buffer))
            if produced:
                buffer[: len(produced)] = produced
                return len(produced)
            if not block and self._decompressor.needs_input:
                raise EOFError("the compressed data ends early")
        return 0

    def close(self) -> None:
        self._raw.close()
        super().close()


def compression_of(first_bytes: bytes) -> str:
    """Return the compression's name: zlib, gzip, bz2, xz, lzma, lz4 or none."""
    if first_bytes.startswith(_LEGACY_PREFIX):
        raise UntrustedArtifact(
            "The artifact is a Z-file, the format of joblib before 0.10, which is read by running a plain "
            "pickle. Write it again with joblib 1.2 or newer."
        )
    for prefix, (name, _) in _DECOMPRESSORS.items():
        if first_bytes.startswith(prefix):
            return name
    return "none"


def open_stream(path: Path) -> "io.BufferedReader[Any]":
    """Return the artifact's decompressed bytes as a stream with constant memory use."""
    raw = io.BufferedReader(io.FileIO(path), buffer_size=_BUFFER_BYTES)
    try:
        first_bytes = raw.peek(_MAX_PREFIX_LENGTH)[:_MAX_PREFIX_LENGTH]
        name = compression_of(first_bytes)
        if name == "none":
            return raw
        make = next(make for found, make in _DECOMPRESSORS.values() if found == name)
        return io.BufferedReader(_Inflated(raw, make()), buffer_size=_BUFFER_BYTES)
    except BaseException:
        raw.close()
        raise
