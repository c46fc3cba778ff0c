"""Uploads that S3 tells of: found at once, and no message that comes for ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Any

import boto3
import pytest
from django.db import connection
from structlog.testing import capture_logs

from models_registry import conf, services
from models_registry.agent.notifications import MAX_RECEIVES, NotificationWatch
from models_registry.errors import StorageUnavailable
from models_registry.models import ModelVersion
from models_registry.storage.notifications import BadNotification, Message, NotificationQueue, models_of
from tests.support.estimators import constant, save

BUCKET, PREFIX = "notified", "models"


@dataclass(frozen=True, slots=True)
class Notified:
    """A bucket that tells of its uploads, the queue that it tells, and its watch."""

    s3: Any
    sqs: Any
    url: str
    watch: NotificationWatch
    woken: list[int]

    def left(self) -> int:
        """Return how many messages there are, given out or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(map(int, found.values()))


class Impatient(NotificationQueue):
    """Waits for no message."""

    def receive(self, *, wait_seconds: int = 0) -> list[Message]:
        return super().receive(wait_seconds=0)


@pytest.fixture
def notified(s3: Any, db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notified]:
    """Return a bucket whose events S3 itself sends to a queue."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", s3.endpoint)
    sqs = boto3.client("sqs", region_name="us-east-1")
    url = sqs.create_queue(QueueName="uploads")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    s3.bucket(BUCKET)
    events = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
    s3.client.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [{"QueueArn": arn, "Events": events}]}
    )
    settings.MODELS_STORAGE = f"s3://{BUCKET}/{PREFIX}"
    settings.MODELS_QUEUE_URL = url
    woken: list[int] = []
    yield Notified(s3.client, sqs, url, NotificationWatch(Impatient(url), on_found=lambda: woken.append(1)), woken)
    stored = s3.client.list_object_versions(Bucket=BUCKET)
    for version in stored.get("Versions", []) + stored.get("DeleteMarkers", []):
        s3.client.delete_object(Bucket=BUCKET, Key=version["Key"], VersionId=version["VersionId"])
    s3.client.delete_bucket(Bucket=BUCKET)
    sqs.delete_queue(QueueUrl=url)


def test_upload_is_found_by_its_message(notified, tmp_path, django_assert_num_queries):
    path = save(constant(1), tmp_path / "a.joblib")
    notified.s3.upload_file(str(path), BUCKET, f"{PREFIX}/my-model/ä b+c.joblib")
    notified.s3.upload_file(str(path), BUCKET, "elsewhere/other/a.joblib")
    notified.watch.look()
    (version,) = ModelVersion.objects.all()
    assert (version.model.name, version.storage_key) == ("my-model", "my-model/ä b+c.joblib")
    assert (notified.woken, notified.left()) == ([1], 0)
    with django_assert_num_queries(0):
        notified.watch.look()


def test_deleted_object_is_missing_by_its_message(notified, tmp_path):
    path = save(constant(1), tmp_path / "a.joblib")
    notified.s3.upload_file(str(path), BUCKET, f"{PREFIX}/m/a.joblib")
    notified.watch.look()
    notified.s3.delete_object(Bucket=BUCKET, Key=f"{PREFIX}/m/a.joblib")
    # The test's S3 sends nothing for a deletion in a versioned bucket.
    notified.sqs.send_message(QueueUrl=notified.url, MessageBody=s3_event(f"{PREFIX}/m/a.joblib"))
    notified.watch.look()
    assert ModelVersion.objects.get().state == "missing"


@pytest.mark.django_db(transaction=True)
def test_replicas_sharing_a_queue_lose_and_repeat_nothing(notified, tmp_path):
    keys = [f"{PREFIX}/m{number % 3}/{number % 6}.joblib" for number in range(24)]
    for number, key in enumerate(keys):
        path = save(constant(number), tmp_path / f"{number}.joblib")
        notified.s3.upload_file(str(path), BUCKET, key)
        # SQS may give a message out twice.
        notified.sqs.send_message(QueueUrl=notified.url, MessageBody=s3_event(key))
    with ThreadPoolExecutor(2) as replicas, capture_logs() as logs:
        together = Barrier(2)
        ended = [replicas.submit(look_until_empty, notified, together) for _ in range(2)]
        assert [replica.result(60) for replica in ended] == [None, None]
    assert notified.left() == 0
    found = ModelVersion.objects.order_by("model__name", "number").values_list("model__name", "number")
    assert list(found) == [(f"m{model}", number) for model in range(3) for number in range(1, 9)]
    assert ModelVersion.objects.values("storage_key", "storage_version").distinct().count() == 24
    assert not [line for line in logs if line["log_level"] in {"warning", "error"}]


def look_until_empty(notified: Notified, together: Barrier) -> None:
    """Look as a replica does, on a connection of its own; both begin each look together, until no message is left."""
    watch = NotificationWatch(Impatient(notified.url), on_found=lambda: None)
    try:
        while notified.left():
            together.wait(30)
            watch.look()
            together.wait(30)
    finally:
        connection.close()


@pytest.mark.parametrize(
    "body",
    ["no JSON", "[]", "3", "null", "{}", '{"Records": [{}]}', '{"Records": 3}', '{"detail": {}}', '{"detail": 1}'],
)
def test_bad_message_is_dropped_and_logged(notified, body):
    notified.sqs.send_message(QueueUrl=notified.url, MessageBody=body)
    with capture_logs() as logs:
        notified.watch.look()
    assert [line["event"] for line in logs if line["event"] == "notification_dropped"]
    assert notified.left() == 0


def s3_event(key: str, bucket: str = BUCKET) -> str:
    return json.dumps({"Records": [{"s3": {"bucket": {"name": bucket}, "object": {"key": key}}}]})


def bridge_event(key: str, bucket: str = BUCKET) -> str:
    return json.dumps({"source": "aws.s3", "detail": {"bucket": {"name": bucket}, "object": {"key": key}}})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (s3_event("models/churn/a.joblib"), {"churn"}),
        (s3_event("models/churn/2026/a+b%2Bc.joblib"), {"churn"}),
        (s3_event("models/churn/a.joblib", "another"), set()),
        (s3_event("modelsx/churn/a.joblib"), set()),
        (s3_event("models/a.joblib"), set()),
        (bridge_event("models/ch+urn/a.joblib"), {"ch+urn"}),
        (bridge_event("models/churn/a.joblib", "another"), set()),
        ('{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "notified"}', set()),
    ],
)
def test_message_names_the_models_under_the_prefix(body: str, expected: set[str]) -> None:
    assert models_of(body, bucket=BUCKET, prefix=PREFIX) == expected


def test_models_lie_in_the_root_without_a_prefix() -> None:
    assert models_of(s3_event("churn/a.joblib"), bucket=BUCKET, prefix="") == {"churn"}


def test_what_is_no_notification_is_said_in_words() -> None:
    with pytest.raises(BadNotification, match="expected a notification of S3 or EventBridge, found 'hello'"):
        models_of("hello", bucket=BUCKET, prefix="")


class Given:
    """A queue that gives out the same messages until they are deleted."""

    def __init__(self, messages: list[Message], error: Exception | None = None) -> None:
        self.messages = messages
        self.error = error

    def receive(self) -> list[Message]:
        if self.error is not None:
            raise self.error
        return self.messages

    def delete(self, messages: list[Message]) -> None:
        self.messages = [message for message in self.messages if message not in messages]


@pytest.mark.parametrize(("receives", "kept"), [(1, 1), (MAX_RECEIVES - 1, 1), (MAX_RECEIVES, 0), (99, 0)])
def test_message_whose_discovery_fails_comes_a_few_times(settings, monkeypatch, receives, kept):
    settings.MODELS_STORAGE = f"s3://{BUCKET}/{PREFIX}"

    def fail(*, only: str) -> None:
        raise StorageUnavailable(only)

    monkeypatch.setattr(services, "discover", fail)
    other = Message("nonsense", "2", 1)
    queue = Given([Message(s3_event("models/m/a.joblib"), "1", receives), other])
    NotificationWatch(queue, on_found=lambda: None).look()
    assert len(queue.messages) == kept


def test_absent_queue_is_logged_once(settings):
    settings.MODELS_STORAGE = f"s3://{BUCKET}/{PREFIX}"
    watch = NotificationWatch(Given([], StorageUnavailable("away")), on_found=lambda: None)
    with capture_logs() as logs:
        watch.look()
        watch.look()
    assert [line["event"] for line in logs] == ["queue_away"]


@pytest.mark.parametrize(
    ("queue", "seconds", "expected"), [("", 10.0, 10.0), ("https://q", 10.0, 900.0), ("https://q", 3600.0, 3600.0)]
)
def test_storage_is_listed_rarely_beside_a_queue(settings, queue, seconds, expected):
    settings.MODELS_QUEUE_URL, settings.MODELS_DISCOVERY_SECONDS = queue, seconds
    assert conf.listing_seconds() == expected
