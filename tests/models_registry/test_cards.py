"""A model has a card in Markdown, and a version has notes in plain text."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Group, User
from django.urls import reverse

from models_registry import services
from models_registry.admin.text_history import REVISIONS_SHOWN
from models_registry.markdown import render_markdown
from models_registry.models import ModelVersion
from models_registry.services.texts import MAX_CARD_LENGTH, MAX_NOTES_LENGTH
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
    assert (found["card"], found["card_changed_by"]) == (CARD.strip(), "ann")
    assert found["card_changed_at"] is not None
    assert patch(publisher, "churn", card="").json()["card"] == ""


@database
def test_notes_are_patched_and_read(publisher):
    changed = patch(publisher, "churn/versions/1", notes="weak on\r\nsevens")
    assert (changed.status_code, changed.json()["notes"]) == (200, "weak on\nsevens")
    found = publisher.get("/api/models/churn/versions/1").json()
    assert (found["notes"], found["notes_changed_by"]) == ("weak on\nsevens", "ann")


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


# The history


def test_each_text_stays_with_its_author(churn):
    for text, author in (("one", "ann"), ("two", "bea"), ("", "cyd"), ("one", "ann")):
        services.set_card(churn.model, text, by=author)
        services.set_notes(churn, text, by=author)
    for found in (services.card_revisions(churn.model), services.notes_revisions(churn)):
        assert [(row.number, row.text, row.changed_by) for row in found] == [
            (4, "one", "ann"),
            (3, "", "cyd"),
            (2, "two", "bea"),
            (1, "one", "ann"),
        ]
        assert [row.changed_at for row in found] == sorted((row.changed_at for row in found), reverse=True)


def test_a_text_that_changes_nothing_adds_no_revision(churn):
    services.set_card(churn.model, "", by="ann")
    assert services.card_revisions(churn.model) == []
    services.set_card(churn.model, "one", by="ann")
    services.set_card(churn.model, "one", by="bea")
    assert len(services.card_revisions(churn.model)) == 1


def test_the_history_of_one_text_has_no_other(churn):
    second = version("churn", 2)
    for row, text in ((churn, "of 1"), (churn, "of 1 again"), (second, "of 2")):
        services.set_notes(row, text, by="ann")
    services.set_card(churn.model, "card", by="ann")
    assert [row.text for row in services.notes_revisions(second)] == ["of 2"]
    assert [row.text for row in services.card_revisions(churn.model)] == ["card"]


@database
def test_the_api_answers_the_history_by_pages(viewer, churn):
    for text in ("one", "two", "three"):
        services.set_card(churn.model, text, by="ann")
        services.set_notes(churn, text, by="ann")
    for path in ("churn/card/history", "churn/versions/1/notes/history"):
        whole = viewer.get(f"/api/models/{path}")
        assert [row["text"] for row in whole.json()] == ["three", "two", "one"]
        assert set(whole.json()[0]) == {"number", "text", "changed_at", "changed_by"}
        first = viewer.get(f"/api/models/{path}?limit=2")
        assert first["Link"] == f'</api/models/{path}?limit=2&after=2>; rel="next"'
        last = viewer.get(f"/api/models/{path}?limit=2&after=2")
        assert ([row["text"] for row in last.json()], "Link" in last) == (["one"], False)
        assert viewer.get(f"/api/models/{path}?after=x").status_code == 400


@pytest.mark.parametrize("name", ["registeredmodel_card_history", "modelversion_notes_history"])
def test_a_viewer_reads_an_earlier_text(viewer, churn, name):
    for text in ("kept\n<b>first</b>", "kept\nsecond"):
        services.set_card(churn.model, text, by="ann")
        services.set_notes(churn, text, by="ann")
    address = page(name, churn.model_id if name.startswith("registeredmodel") else churn.pk)
    newest = viewer.get(address).content.decode()
    assert "<del>-&lt;b&gt;first&lt;/b&gt;</del>" in newest
    assert "<ins>+second</ins>" in newest
    earlier = viewer.get(f"{address}?revision=1").content.decode()
    assert "&lt;b&gt;first&lt;/b&gt;" in earlier
    assert "Restore this text" not in earlier
    assert "There is no revision 9." in viewer.get(f"{address}?revision=9").content.decode()
    assert viewer.post(address, {"revision": 1}).status_code == 403


@pytest.mark.parametrize("name", ["registeredmodel_card_history", "modelversion_notes_history"])
def test_a_publisher_restores_an_earlier_text(publisher, churn, name):
    for text in ("first", "second"):
        services.set_card(churn.model, text, by="bea")
        services.set_notes(churn, text, by="bea")
    is_card = name.startswith("registeredmodel")
    address = page(name, churn.model_id if is_card else churn.pk)
    assert "Restore this text" in publisher.get(f"{address}?revision=1").content.decode()
    shown = publisher.post(address, {"revision": 1}, follow=True).content.decode()
    assert "restored from revision 1." in shown
    churn.refresh_from_db()
    found = services.card_revisions(churn.model) if is_card else services.notes_revisions(churn)
    assert [(row.text, row.changed_by) for row in found] == [("first", "ann"), ("second", "bea"), ("first", "bea")]
    for wrong in ("9", "x", ""):
        assert (
            "There is no such revision." in publisher.post(address, {"revision": wrong}, follow=True).content.decode()
        )


def test_a_long_history_has_pages(viewer, churn):
    for number in range(REVISIONS_SHOWN + 2):
        services.set_notes(churn, f"text {number}", by="ann")
    address = page("modelversion_notes_history", churn.pk)
    first = viewer.get(address).content.decode()
    assert first.count("?revision=") == REVISIONS_SHOWN
    assert 'href="?before=3"' in first
    second = viewer.get(f"{address}?before=3").content.decode()
    assert second.count("?revision=") == 2
    assert "Older revisions" not in second


def test_a_card_that_was_removed_leads_to_its_history(viewer, churn):
    services.set_card(churn.model, "x", by="ann")
    services.set_card(churn.model, "", by="ann")
    shown = viewer.get(page("registeredmodel_change", churn.model_id)).content.decode()
    assert "The card was removed." in shown
    assert page("registeredmodel_card_history", churn.model_id) in shown
