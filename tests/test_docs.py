"""The docs and the code say the same."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from django.core.management import get_commands
from django.urls import Resolver404, resolve

from mlapi.api.urls import urlpatterns as registry_routes
from mlapi.http.errors import STATUS_OF
from mlapi.http.routes import ENDPOINTS, match

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
OWN_APPS = {"mlapi", "models_registry"}
READ_BY = re.compile(
    r"""environment\.(?:text|boolean|number|whole|choice|words|pairs|origins|header_prefix)\(\s*["']([A-Z0-9_]+)["']"""
    r"""|os\.environ(?:\.get\(|\[)["']([A-Z0-9_]+)["']"""
    r"""|environment\.get\(["']([A-Z0-9_]+)["']"""
    r"""|\btext\(["']([A-Z0-9_]+)["']"""
)
# Not settings: what the operating system gives, and what Django's own start sets.
NOT_OURS = {"DJANGO_SETTINGS_MODULE"}


def settings_in_docs() -> set[str]:
    rows = (ROOT / "docs/settings.md").read_text().splitlines()
    return {found[1] for row in rows if (found := re.match(r"\| `([A-Z0-9_]+)` \|", row))}


def settings_in_code() -> set[str]:
    files = [ROOT / "gunicorn.conf.py", *(ROOT / "mlapi").rglob("*.py"), *(ROOT / "docker").glob("*.py")]
    names = {name for file in files for found in READ_BY.findall(file.read_text()) for name in found if name}
    return names - NOT_OURS


def test_every_setting_is_documented_and_no_other():
    # Read by boto3 itself.
    assert settings_in_docs() == settings_in_code() | {"AWS_ENDPOINT_URL_S3"}


def test_every_setting_is_read_by_something():
    code = "\n".join(
        path.read_text()
        for folder in ("mlapi", "models_registry")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "settings.py"
    )
    assigned = re.findall(r"^(M(?:ODELS|LAPI)_[A-Z_]+) =", (ROOT / "mlapi/settings.py").read_text(), re.M)
    assert [name for name in assigned if f"settings.{name}" not in code] == []


def test_every_command_is_documented_and_every_documented_exists():
    text = "\n".join(page.read_text() for page in PAGES)
    named = set(re.findall(r"(?:manage\.py |`)([a-z]+_[a-z_]+)\b(?=[ `])", text))
    own = {name for name, app in get_commands().items() if app in OWN_APPS}
    typed = set(re.findall(r"manage\.py ([a-z_]+)", text))
    assert typed <= set(get_commands())
    assert own - named - typed == set()


def test_every_make_target_in_the_docs_exists():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    for page in PAGES:
        for target in re.findall(r"^make ([a-z-]+)", page.read_text(), re.M):
            assert target in targets, f"{page.name}: make {target}"
    described = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.M))
    assert described == targets


def routes_in_docs() -> set[tuple[str, str]]:
    rows = (ROOT / "docs/http.md").read_text().splitlines()
    found = [re.match(r"\| `(GET|POST|PUT|PATCH|DELETE) (/[^`?]*)", row) for row in rows]
    return {(item[1], item[2]) for item in found if item}


def example_of(path: str) -> str:
    return re.sub(r"\{[a-z]+\}", "1", path)


def test_every_route_in_the_docs_exists():
    for method, path in routes_in_docs():
        found = match(example_of(path))
        if found:
            assert method in found[0].methods, (method, path)
            continue
        try:
            resolve(example_of(path))
        except Resolver404:
            pytest.fail(f"{method} {path} is in docs/http.md and nowhere else")


def test_every_endpoint_is_in_the_docs():
    documented = {match(example_of(path))[0].name for _, path in routes_in_docs() if match(example_of(path))}
    assert {endpoint.name for endpoint in ENDPOINTS} - documented == set()


def test_every_route_of_the_registry_is_in_the_docs():
    served = {
        (
            method,
            re.sub(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)", "{}", f"/api/{route.pattern}").replace("^", "").rstrip("$"),
        )
        for route in registry_routes
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if hasattr(route.callback.view_class, method.lower())
    }
    assert len(served) > 20
    documented = {(method, re.sub(r"\{\w+\}", "{}", path)) for method, path in routes_in_docs()}
    assert served - documented == set()


def test_docs_list_exactly_the_error_codes():
    own = "".join(path.read_text() for folder in OWN_APPS for path in (ROOT / folder).rglob("*.py"))
    raised = re.findall(r"""HttpError\(\s*\d{3},\s*["']([a-z_]+)["']""", own)
    raised += [code for _, _, code in STATUS_OF]
    errors = (ROOT / "docs/http.md").read_text().partition("## Errors")[2].partition("\n## ")[0]
    documented = {code for row in errors.splitlines() if row.startswith("|") for code in re.findall("`([a-z_]+)`", row)}
    # Refusals to load models have the form of the Open Inference Protocol, which has no code.
    assert set(raised) - documented == {"not_here"}
    from_rest_framework = {"not_authenticated", "authentication_failed"}
    assert {code for code in documented - from_rest_framework if f'"{code}"' not in own} == set()


def events_in_code() -> dict[str, bool]:
    """Return the log events of the code, and whether each has the level warning or a higher one."""
    found: dict[str, bool] = {}
    for path in (path for folder in OWN_APPS for path in (ROOT / folder).rglob("*.py")):
        for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
            texts = [item.value for item in call.args if isinstance(item, ast.Constant) and isinstance(item.value, str)]
            match call.func:
                case ast.Attribute(value=ast.Name(id="log"), attr="debug" | "info" | "warning" | "error" as level):
                    found |= {texts[0]: found.get(texts[0], False) or level in {"warning", "error"}} if texts else {}
                # Also the argument of `contained`, whose block logs an exception as that event.
                case (
                    ast.Attribute(value=ast.Name(id="log"), attr="exception" | "critical")
                    | ast.Attribute(attr="contained")
                ):
                    found |= {texts[0]: True} if texts else {}
                case ast.Name(id="PauseEvents"):
                    found |= {texts[0]: True, texts[1]: False}
    return found


def test_docs_list_the_log_events():
    logs = (ROOT / "docs/observability.md").read_text().partition("## Logs")[2].partition("\n## ")[0]
    documented = {event for row in logs.splitlines() if row.startswith("|") for event in re.findall("`([a-z_]+)`", row)}
    events = events_in_code()
    assert documented - set(events) == set()
    assert {event for event, is_loud in events.items() if is_loud} - documented == set()


def test_every_link_leads_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_direct_dependency_has_its_reason():
    text = (ROOT / "docs/dependencies.md").read_text().lower()
    for lock in sorted(ROOT.glob("requirements/*.in")):
        for line in lock.read_text().splitlines():
            name = re.match(r"[A-Za-z0-9_.-]+", line.strip())
            if name and not line.startswith("-"):
                assert f"`{name[0].lower()}`" in text, f"{lock.name}: {name[0]}"


def test_no_page_names_a_person_or_a_machine():
    for page in [*PAGES, ROOT / "CHANGELOG.md"]:
        assert not re.search(r"/(?:root|home|work|tmp/bash)/", page.read_text()), page.name
