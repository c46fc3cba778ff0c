"""The stack of notifications: its queue, and the service's permissions."""

from __future__ import annotations

from typing import Any

from cloudformation.stacks import MAKERS, STANDALONE
from models_registry.storage.notifications import WAIT_SECONDS


def parts() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = STANDALONE["notifications"]().to_dict()["Resources"]
    return found


def statements(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parts()[name]["Properties"]["PolicyDocument"]["Statement"]
    return found


def test_bucket_sends_its_events() -> None:
    bucket = MAKERS["data"]().to_dict()["Resources"]["ModelBucket"]["Properties"]
    assert bucket["NotificationConfiguration"] == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}


def test_writes_and_deletions_under_the_prefix_reach_the_queue() -> None:
    rule = parts()["UploadRule"]["Properties"]
    assert rule["EventPattern"]["detail-type"] == ["Object Created", "Object Deleted"]
    (key,) = rule["EventPattern"]["detail"]["object"]["key"]
    assert key["prefix"]["Fn::Sub"][0] == "${Prefix}/"
    assert rule["Targets"] == [{"Arn": {"Fn::GetAtt": ["UploadQueue", "Arn"]}, "Id": "UploadQueue"}]


def test_the_rule_alone_may_send_and_over_tls() -> None:
    send, refuse = statements("UploadQueuePolicy")
    assert (send["Principal"], send["Action"]) == ({"Service": "events.amazonaws.com"}, "sqs:SendMessage")
    assert send["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["UploadRule", "Arn"]}}}
    assert (refuse["Effect"], refuse["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_task_role_receives_and_deletes_and_nothing_else() -> None:
    (statement,) = statements("ReadUploads")
    assert statement["Action"] == ["sqs:DeleteMessage", "sqs:ReceiveMessage"]
    assert statement["Resource"] == {"Fn::GetAtt": ["UploadQueue", "Arn"]}


def test_queue_is_encrypted_and_forgets() -> None:
    queue = parts()["UploadQueue"]["Properties"]
    assert queue["SqsManagedSseEnabled"] is True
    assert queue["ReceiveMessageWaitTimeSeconds"] == WAIT_SECONDS
    assert queue["VisibilityTimeout"] < queue["MessageRetentionPeriod"]
