"""Recognises common files that are not artifacts: a pointer, a web page, another library's model."""

import zipfile
from pathlib import Path

_READ_BYTES = 4096
_TORCH = "It is a PyTorch model, which this server does not run. Export it with torch.onnx.export and publish that."
_KERAS = (
    "It is a Keras or TensorFlow model, which this server does not run. Export it as ONNX (model.export or tf2onnx) "
    "and publish that."
)
_TABLE = "Publish the file in which the fitted model was saved."
# By the first bytes.
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "It is a Git LFS pointer, not the model. Fetch the model with 'git lfs pull', and "
     "publish that."),
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19", _TORCH),
    (b"\x89HDF", _KERAS),
    (b"PAR1", f"It is a Parquet file, a table of data. {_TABLE}"),
    (b"ARROW1", f"It is an Arrow file, a table of data. {_TABLE}"),
    (b"\x93NUMPY", f"It is a numpy array (.npy), not a model. {_TABLE}"),
    (b"GGUF", "It is a language model in GGUF, which this server does not run. Publish a model of scikit-learn, "
     "XGBoost or LightGBM, or an ONNX file."),
    (b"%PDF", f"It is a PDF document. {_TABLE}"),
    (b"\x89PNG", f"It is a PNG image. {_TABLE}"),
    (b"\xff\xd8\xff", f"It is a JPEG image. {_TABLE}"),
)  # fmt: skip
# By the suffix of a member's name in a zip archive.
_IN_ZIP: tuple[tuple[str, str], ...] = (
    ("schema.json", "It is a skops file. Rename it to end in .skops."),
    ("data.pkl", _TORCH),
    ("constants.pkl", _TORCH),
    ("model.weights.h5", _KERAS),
    ("saved_model.pb", _KERAS),
    ("[Content_Types].xml", f"It is an Office document. {_TABLE}"),
    (".npy", f"It is a set of numpy arrays (.npz), not a model. {_TABLE}"),
)


# The first characters of the text formats.
_TEXT_MODELS = {"xgboost": b"{", "lightgbm": b"tree"}


def recognise(path: Path, format: str, *, by_text: bool) -> str | None:
    """Return a sentence on the content of a file that is not `format`, with the next step; else None.

    Texts are recognised only with `by_text`: pickle's oldest protocol is a text format, too.
    """
    with path.open("rb") as stream:
        start = stream.read(_READ_BYTES)
    if not start.strip():
        return "It is an empty file. Copy it again."
    for magic, said in _MAGIC:
        if start.startswith(magic):
            return said
    if not by_text:
        return None
    if start.startswith(b"PK"):
        return _zip(path, format)
    # The format's own reader gives a better reason for a refused text model.
    is_model = start.lstrip().startswith(_TEXT_MODELS.get(format, b"\0"))
    return None if is_model else _text(start)


def _zip(path: Path, format: str) -> str | None:
    if format == "skops":
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return "It is a zip archive that is damaged or truncated. Copy it again."
    for end, said in _IN_ZIP:
        if any(name.endswith(end) for name in names):
            return said
    return "It is a zip archive. Unpack it, and publish the model inside."


def _text(start: bytes) -> str | None:
    try:
        # The last character may be incomplete.
        text = start.decode("utf-8-sig", "strict" if len(start) < _READ_BYTES else "ignore").lstrip()
    except UnicodeDecodeError:
        return None
    if not all(character.isprintable() or character in "\r\n\t" for character in text):
        return None
    lower = text[:200].lower()
    if lower.startswith(("<!doctype html", "<html", "<head", "<body")):
        return "It is an HTML page, probably a login page or an error page. Download the model itself."
    if lower.startswith("<"):
        return "It is an XML document, probably an error of a storage (such as NoSuchKey). Copy the file again."
    if lower.startswith(("{", "[")):
        return f"It is a JSON file. {_TABLE}"
    lines = text.splitlines()
    commas = {line.count(",") for line in lines[:5] if line}
    if len(lines) > 1 and len(commas) == 1 and commas != {0}:
        return f"It is a CSV file, a table of data. {_TABLE}"
    return f"It is a text file. {_TABLE}"
