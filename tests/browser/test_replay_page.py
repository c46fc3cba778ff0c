"""The replay on the page that confirms an activation, in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from models_registry import services
from models_registry.models import Replay
from models_registry.monitoring.replay import compare
from tests.browser.test_usage_pages import SIZES, VIEW, has_no_sideways_scroll
from tests.monitoring.test_replay import replayed
from tests.support.registry import version

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_replay_is_asked_for_and_its_result_appears(size, scheme, open_page, tmp_path):
    services.activate(version("digits", 1), by="bob")
    second = version("digits", 2)
    page = open_page(*VIEW, "activate_modelversion", size=SIZES[size])
    page.emulate_media(color_scheme=scheme)
    page.goto(f"/admin/models_registry/modelversion/{second.pk}/activate/")
    rows = tmp_path / "rows.csv"
    rows.write_text("age,city\n34,Oslo\n57,Bergen\n")
    page.locator('input[type="file"]').set_input_files(rows)
    page.get_by_role("button", name="Run a replay").click()
    expect(page.get_by_text("The replay waits for a free replica.")).to_be_visible()

    replay = Replay.objects.get()
    assert replay.table["instances"] == [{"age": 34, "city": "Oslo"}, {"age": 57, "city": "Bergen"}]
    replay.result = compare(replay.table["instances"], replayed("yes", "no"), replayed("yes", "yes", scores=[0.8, 0.6]))
    replay.state = Replay.State.DONE
    replay.save()
    expect(page.locator("#replay-changed")).to_contain_text("1 of 2 rows change (50 %).")
    cells = page.locator("#replay-examples tbody tr").first.locator("td")
    expect(cells).to_have_text(["1", "57", '"Bergen"', '"no"', '"yes" 0.6'])
    assert has_no_sideways_scroll(page)


def test_file_is_taken_only_from_those_who_may_replay(admin_client, client, tmp_path):
    first = version("digits", 1)
    url = f"/admin/models_registry/modelversion/{first.pk}/replay/"
    with (tmp_path / "rows.csv").open("w+b") as file:
        file.write(b"a\n1\n")
        file.seek(0)
        assert client.post(url, {"rows": 5, "input": file}).status_code in {302, 400, 403}
    admin_client.handler.enforce_csrf_checks = True
    assert admin_client.post(url, {"rows": 5}).status_code == 403
    assert not Replay.objects.exists()
