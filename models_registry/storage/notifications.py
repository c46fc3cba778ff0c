"""The SQS queue of S3's upload notifications: they name changed models, so the bucket need not be listed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from models_registry.errors import StorageUnavailable
from models_registry.storage.base import as_clause

# SQS returns earlier if a message arrives.
WAIT_SECONDS = 20
MAX_MESSAGES = 10
SHOWN_BODY = 200


class BadNotification(ValueError):
    """A message that is not an S3 notification."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: `receipt` deletes it, `receives` counts its deliveries."""

    body: str
    receipt: str
    receives: int


class NotificationQueue:
    """An SQS queue to which S3 or EventBridge sends a bucket's notifications."""

    def __init__(self, url: str) -> None:
        """Store the queue's URL."""
        # Imported here: a replica with a directory storage needs no boto3.
        import boto3
        from botocore.config import Config

        self._url = url
        config = Config(
            connect_timeout=3, read_timeout=WAIT_SECONDS + 10, retries={"mode": "standard", "total_max_attempts": 2}
        )
        self._client = boto3.client("sqs", region_name=_region_of(url), config=config)

    def receive(self, *, wait_seconds: int = WAIT_SECONDS) -> list[Message]:
        """Return up to ten messages; StorageUnavailable on failure."""
        answer = self._call(
            "receive_message",
            MaxNumberOfMessages=MAX_MESSAGES,
            WaitTimeSeconds=wait_seconds,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        return [
            Message(
                item["Body"], item["ReceiptHandle"], int(item.get("Attributes", {}).get("ApproximateReceiveCount", 1))
            )
            for item in answer.get("Messages", [])
        ]

    def delete(self, messages: Iterable[Message]) -> None:
        """Delete processed messages; StorageUnavailable on failure."""
        entries = [{"Id": str(index), "ReceiptHandle": message.receipt} for index, message in enumerate(messages)]
        if entries:
            self._call("delete_message_batch", Entries=entries)

    def _call(self, name: str, **arguments: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = getattr(self._client, name)(QueueUrl=self._url, **arguments)
        except (ClientError, BotoCoreError) as error:
            raise StorageUnavailable(
                f"The queue {self._url} is unreachable: {as_clause(error)}. Grant sqs:ReceiveMessage and "
                "sqs:DeleteMessage on it to these credentials, or correct MODELS_QUEUE_URL."
            ) from error
        return answer


def models_of(body: str, *, bucket: str, prefix: str) -> set[str]:
    """Return the models of the files in a message: the first directory below `prefix` of `bucket`.

    Accepts messages of S3, including its test event, and of EventBridge. Raises BadNotification.
    """
    try:
        keys = _keys_of(json.loads(body), bucket)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadNotification(
            f"expected a notification of S3 or EventBridge, found {body[:SHOWN_BODY]!r}. Let nothing else send to the "
            "queue."
        ) from error
    base = f"{prefix}/" if prefix else ""
    inside = [key.removeprefix(base) for key in keys if key.startswith(base)]
    return {key.partition("/")[0] for key in inside if "/" in key}


def _keys_of(message: Any, bucket: str) -> list[str]:
    if message.get("Event") == "s3:TestEvent":
        return []
    if "detail" in message:
        about = [message["detail"]]
        return [one["object"]["key"] for one in about if one["bucket"]["name"] == bucket]
    # S3 encodes keys like form data.
    about = [record["s3"] for record in message["Records"]]
    return [unquote_plus(one["object"]["key"]) for one in about if one["bucket"]["name"] == bucket]


def _region_of(url: str) -> str | None:
    """Return the region in the URL of an AWS queue; None: boto3's default region."""
    parts = (urlsplit(url).hostname or "").split(".")
    return parts[1] if parts[0] == "sqs" and len(parts) > 3 else None
