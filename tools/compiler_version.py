"""Records a digest of the compiler's code together with `COMPILER_VERSION`.

    python -m tools.compiler_version

Run it after a change in `models_registry/compilation/` or `models_registry/artifacts/boosters/`, once you have decided
whether to raise the version. A test fails until the record fits the code.
"""

import ast
import hashlib
import io
import json
import tokenize
from pathlib import Path

from models_registry.compilation.cache import COMPILER_VERSION

ROOT = Path(__file__).parent.parent
# The decoders of boosters are included, because compiled forms are made from their results.
PACKAGES = (ROOT / "models_registry" / "compilation", ROOT / "models_registry" / "artifacts" / "boosters")
RECORD = ROOT / "tests" / "compilation" / "compiler_version.json"
# Modules that find, start and describe a compilation, but do not affect its result.
EXCLUDED = ("__init__.py", "cache.py", "compile_task.py", "compiling.py", "report.py")


def record_of() -> dict[str, str | int]:
    """Return the version, and the SHA-256 of the code that determines compiled forms."""
    seen = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted(package.rglob("*.py")):
            if path.name not in EXCLUDED:
                seen.update(f"{path.relative_to(package)}\n{code_of(path.read_text())}\n".encode())
    return {"version": COMPILER_VERSION, "code": seen.hexdigest()}


def code_of(source: str) -> str:
    """Return the source without docstrings, comments and empty lines."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            text = node.body[0]
            lines[text.lineno - 1 : text.end_lineno] = [""] * ((text.end_lineno or 0) - text.lineno + 1)
    return "\n".join(line.rstrip() for line in lines if line.strip())


if __name__ == "__main__":
    RECORD.write_text(json.dumps(record_of(), indent=1) + "\n")
