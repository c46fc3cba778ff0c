"""A batch's page shows how far the batch is, and follows it until its end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from models_registry.models import BatchJob, BatchState
from tests.models_registry.test_admin import VIEW, logged_in
from tests.support.registry import version

pytestmark = pytest.mark.django_db
LIST = "/admin/models_registry/batchjob/"


def text_of(address: str) -> str:
    """Return the page as somebody sees it who may view batches."""
    response = logged_in(*VIEW, "view_batchjob").get(address)
    assert response.status_code == 200
    return response.content.decode()


@pytest.fixture
def running() -> BatchJob:
    """Return a batch that has scored a quarter of its rows."""
    return BatchJob.objects.create(
        version=version("m", 3),
        input="s3://bucket/in",
        output="s3://bucket/out",
        options={"keep": ["id"]},
        state=BatchState.RUNNING,
        rows=250_000,
        total_rows=1_000_000,
        started_at=timezone.now() - timedelta(seconds=30),
        created_by="ann",
    )


def test_page_shows_what_was_asked_and_progress(running: BatchJob) -> None:
    text = text_of(f"{LIST}{running.pk}/change/")
    for expected in (
        "250,000 of 1,000,000 (25 %)",
        'value="250000" max="1000000"',
        "s3://bucket/in",
        "m 3",
        "ann",
        "keep",
    ):
        assert expected in text, expected
    assert f'data-url="{LIST}{running.pk}/live/"' in text


@pytest.mark.parametrize(
    ("state", "complete"),
    [(BatchState.QUEUED, "no"), (BatchState.RUNNING, "no"), (BatchState.DONE, "final"), (BatchState.FAILED, "final")],
)
def test_page_follows_a_batch_until_its_end(running: BatchJob, state: str, complete: str) -> None:
    BatchJob.objects.update(state=state, reason="no file to score" if state == BatchState.FAILED else "")
    text = text_of(f"{LIST}{running.pk}/live/")
    assert f'data-complete="{complete}"' in text
    assert ("no file to score" in text) == (state == BatchState.FAILED)


def test_list_leads_to_the_page(running: BatchJob) -> None:
    text = text_of(LIST)
    assert f'href="{LIST}{running.pk}/change/"' in text
    assert "250,000 of 1,000,000 (25 %)" in text


@pytest.mark.parametrize("place", ["change/", "live/"])
def test_page_needs_the_right_to_view_batches(running: BatchJob, place: str) -> None:
    assert logged_in(*VIEW).get(f"{LIST}{running.pk}/{place}").status_code == 403
    assert logged_in(*VIEW, "view_batchjob", name="bob").get(f"{LIST}999/live/").status_code == 404
