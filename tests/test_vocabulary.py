"""One concept has one name: none of the retired names comes back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (
    "benchmarks",
    "cloudformation",
    "docker",
    "docs",
    "mlapi",
    "models_registry",
    "ops",
    "requirements",
    "tests",
    "tools",
)
FILES = ("CONTRIBUTING.md", "Makefile", "README.md", "SECURITY.md", "gunicorn.conf.py", "manage.py", "pyproject.toml")
SUFFIXES = {".conf", ".css", ".html", ".js", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}
# A migration that has run keeps its name. The test itself names the words.
EXEMPT = re.compile(r"/migrations/|/test_vocabulary\.py$|\.venv|__pycache__")

# A retired name, as a regular expression, and the name that took its place.
RETIRED = {
    r"MLAPI_MAX_WAITING|MLAPI_MAX_WAIT_SECONDS": "MLAPI_MAX_IN_FLIGHT, MLAPI_QUEUE_TIMEOUT_SECONDS",
    r"MLAPI_LANE|\blane\b|GateFirst|\bforesight\b": "request pipeline",
    r"\bGate\b|\bPassage\b|\bthe gate\b": "RequestPipeline, RequestContext",
    r"\bwaiting room\b": "queue",
    r"(?i)\bwish(es|ed)?(\b|_)|remembered_wish": "desired state",
    r"\bBoard\b|\bVersionRef\b|\bLoadableVersion\b": "ServingSnapshot, DesiredVersion",
    r"\bWatcher\b|\bSteward\b": "Reconciler, MaintenanceLoop",
    r"\bKeyKeeper\b|\bKeyRing\b|key-keeper": "ApiKeySync, ApiKeyCache",
    r"(?i)\bcoalesc(er|ing|ed)\b|\b_Ticket\b|brief_bytes": "DynamicBatcher, PendingPrediction, inline_max_bytes",
    r"\bskl2onnx_road\b|\b(the|a) road\b|\broads\b": "skl2onnx_backend, attempt",
    r"FrontColumn|\bDraft\b|\bdraft_of\b|\bAgreed\b": "InputColumn, Candidate, VerifiedCandidate",
    r"\bworkshop\b|cache\.land\b|\bdef land\b": "build_dir, publish",
    r"\bensembles_of_trees\b": "tree_ensembles",
    r"converters[./](distances|numbers|composed|answers)\b": "neighbors, preprocessing, meta_estimators, outputs",
    r"admin[./](acts|confirming|confirmation|facts)\b": "admin: base, confirm, presenters",
    r"\bMeter\b|\bmeter\b|\btallies\b|observability[./]metrics[./]catalogue\b": "MetricsRecorder, definitions",
    r"\bspelling\b|\b(import|artifacts\.) ?(calling|outline|walking)\b": "suggestions, object_tree, object_graph",
    r"\bFront\b|\bDirect\b|drawing\.draw\b|\bAccelerated\b|\baccelerated (form|model)": "InputEncoder, compiled",
    r"\bbrief\b|\b[Ww]atcher\b|\bsteward\b|key.keeper": "inline, reconciler, maintenance, key sync",
    r"killed probe|probed\b": "load test",
    r"wish_remembered": "desired_state_restored",
    r"MinuteReport|minute_report": "EmfExporter",
    r"\bovertaken\b": "superseded",
    r"\b_?(MOST|LONGEST)_[A-Z]\w*": "MAX_…",
    r"\b_?(LEAST|FEWEST)_[A-Z]\w*": "MIN_…",
    r"probe_child|run_probe|Probe(Report|Request|Limits)|\b[Tt]he probe\b": "load test",
    r"compile_child": "compile_task",
    r"\bconfinement\b|text_refusals|\bsettling\b": "sandbox, input_errors, serving_defaults",
    r"(?i)\bspecimens?\b|generate_trusted_globals": "fixtures, tools.trusted_names",
    r"inference import infer_signature|artifacts[./]signature\b|\bSignature\(": "schema",
    r"\b(Inspection)?Facts\b|\bfacts\.\w": "CallStats, InspectionNotes, InspectionSummary",
}


def _texts() -> dict[str, str]:
    paths = [ROOT / name for name in FILES]
    for folder in FOLDERS:
        paths += [path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for path in paths
        if path.is_file() and not EXEMPT.search(str(path))
    }


TEXTS = _texts()


@pytest.mark.parametrize(("retired", "name"), RETIRED.items(), ids=range(len(RETIRED)))
def test_retired_names_stay_away(retired: str, name: str) -> None:
    pattern = re.compile(retired)
    found = [
        f"{path}:{number}: {line.strip()[:120]}"
        for path, text in TEXTS.items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, f"say {name}"


def test_all_kinds_of_files_are_read() -> None:
    assert {Path(path).suffix for path in TEXTS} >= {".py", ".md", ".html", ".js", ".css", ".toml", ".yaml"}
    assert "mlapi/settings.py" in TEXTS
