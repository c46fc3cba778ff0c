"""The history of a model card, in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from models_registry import services
from tests.browser.conftest import DESKTOP
from tests.support.registry import version

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("size", [DESKTOP, {"width": 390, "height": 800}])
def test_an_earlier_card_is_read_and_restored_by_keyboard(open_page, size):
    model = version("digits", 1).model
    services.set_card(model, "# First\n\n| a | b |\n|---|---|\n| 1 | 2 |", by="bea")
    services.set_card(model, "# Second", by="cyd")
    page = open_page("view_registeredmodel", "change_registeredmodel", size=size)
    page.goto(f"/admin/models_registry/registeredmodel/{model.pk}/change/")
    page.get_by_role("link", name="Card history").press("Enter")
    expect(page.locator("#text h3")).to_have_text("Second")
    page.get_by_text("Changes", exact=True).press("Enter")
    expect(page.locator(".reg-diff ins")).to_have_text("+# Second")
    page.get_by_role("link", name="revision 1").press("Enter")
    expect(page.locator("#text h3")).to_have_text("First")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Restore this text").press("Enter")
    expect(page.get_by_text("The card is restored from revision 1.")).to_be_visible()
    expect(page.locator("#revisions tbody tr")).to_have_count(3)
    assert [row.changed_by for row in services.card_revisions(services.get_model("digits"))] == ["ann", "cyd", "bea"]
