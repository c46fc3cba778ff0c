"""A model has a card in Markdown, and a version has notes in plain text."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse

from models_registry import services
from models_registry.markdown import render_markdown
from models_registry.models import ModelVersion
from models_registry.services.labels import MAX_CARD_LENGTH, MAX_NOTES_LENGTH
from tests.models_registry.test_groups import make_groups
from tests.support.registry import version

database = pytest.mark.database
CARD = "# Purpose\n\nWho **leaves**.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"


@pytest.fixture
def churn(db) -> ModelVersion:
    return version("churn", 1)


@pytest.fixture
def publisher(client, churn):
    """Return the client of a member of the group `publisher`."""
    return member(client, "ann", "publisher")


@pytest.fixture
def viewer(client, churn):
    """Return the client of a member of the group `viewer`."""
    return member(client, "vic", "viewer")


def member(client, name: str, group: str):
    """Return `client`, logged in as a new member of `group`."""
    make_groups()
    user = User.objects.create_user(name, is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def patch(client, path: str, **body):
    return client.patch(f"/api/models/{path}", body, content_type="application/json")


def page(name: str, pk: int) -> str:
    return reverse(f"admin:models_registry_{name}", args=[pk])


# Markdown


def test_markdown_keeps_its_structure_below_the_page_s_own():
    html = render_markdown(CARD + "\n1. [more](https://example.org 'why')\n\n```\nx < y\n```\n")
    for part in ("<h3>Purpose</h3>", "<strong>leaves</strong>", "<td>1</td>", "<ol>", "<code>x &lt; y"):
        assert part in html
    assert '<a href="https://example.org" title="why" rel="noopener noreferrer nofollow">more</a>' in html


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        "a <b onclick=alert(1)>b</b>",
        "<iframe src='https://example.org'></iframe>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](java&#115;cript:alert(1))",
        "[x](<java\tscript:alert(1)>)",
        "[x](vbscript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](data:image/svg+xml;base64,PHN2Zz4=)",
        "[x](file:///etc/passwd)",
        "<javascript:alert(1)>",
        '[x](https://example.org "\\" onmouseover=alert(1)")',
        "![x](https://example.org/pixel.png)",
        "![x](javascript:alert(1))",
        "[![x](https://example.org/pixel.png)](javascript:alert(1))",
        "![<script>alert(1)</script>](x)",
        "`<script>alert(1)</script>`",
        "```<script>\nx\n```",
        "[x]: javascript:alert(1)\n\n[x]",
    ],
)
def test_markdown_brings_no_script_and_loads_nothing(text):
    html = render_markdown(text)
    tags = re.findall(r"<(\w+)([^>]*)>", html)
    assert {tag for tag, _ in tags} <= {"p", "a", "code", "pre"}
    for _, attributes in tags:
        names = re.findall(r'([\w-]+)="[^"]*"', attributes)
        assert set(names) <= {"href", "title", "rel"}
        assert re.sub(r'[\w-]+="[^"]*"', "", attributes).strip() == ""
        for link in re.findall(r'href="([^"]*)"', attributes):
            assert link == "https://example.org" or not re.match(r"[a-z][a-z0-9+.-]*:", link, re.IGNORECASE)


def test_an_image_is_shown_as_its_description():
    assert render_markdown("![A <curve>](https://example.org/roc.png)").strip() == "<p>A &lt;curve&gt;</p>"


# The API


@database
def test_the_card_is_patched_and_read(publisher):
    changed = patch(publisher, "churn", card=CARD)
    assert changed.status_code == 200, changed.content
    found = publisher.get("/api/models/churn").json()
    assert (found["card"], found["card_changed_by"]) == (CARD.strip(), "ann (API)")
    assert found["card_changed_at"] is not None
    assert patch(publisher, "churn", card="").json()["card"] == ""


@database
def test_notes_are_patched_and_read(publisher):
    changed = patch(publisher, "churn/versions/1", notes="weak on\r\nsevens")
    assert (changed.status_code, changed.json()["notes"]) == (200, "weak on\nsevens")
    found = publisher.get("/api/models/churn/versions/1").json()
    assert (found["notes"], found["notes_changed_by"]) == ("weak on\nsevens", "ann (API)")


def test_the_same_text_again_keeps_who_was_first(churn):
    assert services.set_notes(churn, "a\nb", by="ann")
    assert not services.set_notes(churn, "a\r\nb\r\n", by="bea")
    assert services.set_card(churn.model, "x", by="ann")
    assert not services.set_card(churn.model, "x", by="bea")
    assert (churn.notes_changed_by, churn.model.card_changed_by) == ("ann", "ann")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("churn", {"card": "x" * (MAX_CARD_LENGTH + 1)}),
        ("churn", {"card": 5}),
        ("churn", {"card": None}),
        ("churn", {"card": "a\0b"}),
        ("churn/versions/1", {"notes": "x" * (MAX_NOTES_LENGTH + 1)}),
        ("churn/versions/1", {"notes": ["a"]}),
        ("churn/versions/1", {"metrics": {}}),
    ],
)
def test_a_wrong_text_is_refused(publisher, path, body):
    assert patch(publisher, path, **body).status_code == 400


def test_a_viewer_changes_neither(viewer, churn):
    assert patch(viewer, "churn", card="x").status_code == 403
    assert patch(viewer, "churn/versions/1", notes="x").status_code == 403
    assert viewer.get(page("registeredmodel_card", churn.model_id)).status_code == 403
    assert "Model card" not in viewer.get(page("registeredmodel_change", churn.model_id)).content.decode()


# The admin


def test_a_publisher_edits_the_card(publisher, churn):
    address = page("registeredmodel_card", churn.model_id)
    assert 'name="card"' in publisher.get(address).content.decode()
    shown = publisher.post(address, {"card": CARD.replace("\n", "\r\n")}, follow=True).content.decode()
    assert "The card of churn is saved." in shown
    assert "<h3>Purpose</h3>" in shown
    assert "Edit the card" in shown
    churn.model.refresh_from_db()
    assert (churn.model.card, churn.model.card_changed_by) == (CARD.strip(), "ann")


def test_a_publisher_edits_notes(publisher, churn):
    address = page("modelversion_notes", churn.pk)
    shown = publisher.post(address, {"notes": "weak\r\non 7"}, follow=True).content.decode()
    assert "The notes on churn 1 are saved." in shown
    churn.refresh_from_db()
    assert (churn.notes, churn.notes_changed_by) == ("weak\non 7", "ann")


def test_notes_are_shown_as_plain_text(viewer, churn):
    services.set_notes(churn, "<b>weak</b>\non **7**", by="ann")
    shown = viewer.get(page("modelversion_change", churn.pk)).content.decode()
    assert "&lt;b&gt;weak&lt;/b&gt;<br>on **7**" in shown


def test_notes_that_are_too_long_stay_in_the_form(publisher, churn):
    answer = publisher.post(page("modelversion_notes", churn.pk), {"notes": "y" * (MAX_NOTES_LENGTH + 1)})
    assert "at most 5000 characters" in answer.content.decode()
    churn.refresh_from_db()
    assert churn.notes == ""
