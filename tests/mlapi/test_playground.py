"""The page at `/`: who gets it, what it may load, and that it can be switched off."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from django.contrib.staticfiles import finders

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_browser_gets_the_page_and_a_program_the_links(host, load):
    page = host.get("/", **BROWSER)
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    index = host.get("/", Accept="*/*")
    assert index.json["docs"] == "http://localhost/docs"
    for answer in (page, index):
        assert "Accept" in answer.headers["vary"]
    for name, link in index.json.items():
        if name not in {"service", "predict", "admin", "health"}:
            assert host.get(link.removeprefix("http://localhost")).status == 200, name
    refused = host.post("/", {})
    assert (refused.status, refused.json["code"], refused.headers["allow"]) == (405, "method_not_allowed", "GET")
    assert host.post("/docs", {}).status == 405


def test_switched_off_everybody_gets_the_links(host, load, settings):
    settings.MLAPI_PLAYGROUND = False
    assert host.get("/", **BROWSER).json["service"] == "mlapi"


@pytest.mark.parametrize(("given", "read"), [("off", "False"), ("on", "True"), ("", "True")])
def test_switch_is_read_from_the_environment(given, read, tmp_path):
    script = "from mlapi import settings; print(settings.MLAPI_PLAYGROUND)"
    environment = {**os.environ, "MLAPI_PLAYGROUND": given, "MLAPI_VAR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == read


def test_page_has_no_inline_script_and_loads_nothing_external(host, load):
    page = host.get("/", **BROWSER)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    body = page.body.decode()
    assert not re.search(r"<script(?![^>]*src)|<style|\son\w+=|style=", body)
    addresses = re.findall(r'(?:src|href)="([^"]+)"', body)
    assert all(address.startswith(("/", "#")) and not address.startswith("//") for address in addresses)
    files = [address.removeprefix("/static/") for address in addresses if address.startswith("/static/")]
    assert len(files) >= 7
    for name in files:
        found = finders.find(name)
        assert found, name
    assert "data-needs-key" not in body


def test_page_asks_for_a_key_where_predictions_need_one(host, load, settings):
    settings.MLAPI_REQUIRE_API_KEY = True
    assert "data-needs-key" in host.get("/", **BROWSER).body.decode()
