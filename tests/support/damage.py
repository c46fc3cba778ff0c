"""Damages the bytes of a file: what a fault of a disk does, and what somebody does who wants to break a reader."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import numpy as np


def damage(blob: bytes, generator: np.random.Generator) -> bytes:
    """Return bytes with some of them changed, cut out, repeated or replaced by what a length looks like."""
    damaged = bytearray(blob)
    for _ in range(int(generator.integers(1, 6))):
        place = int(generator.integers(len(damaged)))
        kind = int(generator.integers(5))
        if kind == 0:
            damaged[place] ^= 1 << int(generator.integers(8))
        elif kind == 1:
            del damaged[place : place + int(generator.integers(1, 40))]
        elif kind == 2:
            damaged[place:place] = damaged[place : place + int(generator.integers(1, 200))]
        elif kind == 3:
            damaged[place : place + 8] = generator.bytes(8)
        else:
            digits = next((at for at in range(place, len(damaged)) if 48 <= damaged[at] < 58), place)
            damaged[digits : digits + 1] = str(int(generator.integers(-(2**33), 2**33))).encode()
    return bytes(damaged) if damaged else b"{"


def overwrite(blob: bytes, generator: np.random.Generator) -> bytes:
    """Return bytes with up to three values of them changed in place, so that the file around them stays whole."""
    damaged = bytearray(blob)
    for _ in range(int(generator.integers(1, 4))):
        place = int(generator.integers(len(damaged)))
        size = min(int(generator.choice([1, 4, 8])), len(damaged) - place)
        worst = (-1).to_bytes(size, "little", signed=True)
        damaged[place : place + size] = generator.bytes(size) if generator.random() < 0.7 else worst
    return bytes(damaged)


def damage_member(
    blob: bytes, generator: np.random.Generator, how: Callable[[bytes, np.random.Generator], bytes] = damage
) -> bytes:
    """Return a ZIP file with one damaged member under a right checksum, so that the damage is read."""
    content = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(blob)) as whole, zipfile.ZipFile(content, "w") as damaged:
        names = whole.namelist()
        chosen = names[int(generator.integers(len(names)))]
        for name in names:
            member = whole.read(name)
            damaged.writestr(name, how(member, generator) if name == chosen and member else member)
    return content.getvalue()
