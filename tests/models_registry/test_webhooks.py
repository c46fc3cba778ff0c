"""Webhooks against a real receiver: what is told, how it is signed, and what is tried again."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone

from models_registry import services
from models_registry.checks import OWN, require_sound_settings
from models_registry.delivery import DeliveryError, Receiver, deliver, signature
from models_registry.models import Canary, ModelVersion, State, WebhookDelivery
from models_registry.services.rollout import ModelReport
from models_registry.services.webhooks import PAUSES
from tests.support.estimators import constant, save
from tests.support.registry import version

pytestmark = pytest.mark.django_db

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 24).decode()


@dataclass
class Received:
    """A receiver on loopback, with what it got; it answers `status`, and leads elsewhere where that is a redirect."""

    url: str = ""
    status: int = 204
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def events(self) -> list[tuple[str, dict]]:
        """The types and data of the events, in the order of arrival."""
        bodies = [json.loads(body) for _, body in self.posts]
        return [(body["type"], body["data"]) for body in bodies]


@pytest.fixture
def receiver(settings) -> Iterator[Received]:
    """A receiver that the settings name."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.posts.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(received.status)
            if received.status in range(300, 400):
                self.send_header("Location", f"{received.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        received.url = f"http://127.0.0.1:{server.server_port}/hook?team=ml"
        settings.MODELS_WEBHOOK_URLS = [received.url]
        settings.MODELS_WEBHOOK_SECRETS = [SECRET]
        settings.MODELS_WEBHOOK_PRIVATE_HOSTS = ["127.0.0.1"]
        yield received
        server.shutdown()
        thread.join()


def make_due() -> None:
    WebhookDelivery.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))


def one(kind: str = "activation.created") -> WebhookDelivery:
    services.record_event(kind, {"model": "m", "version": 1})
    return WebhookDelivery.objects.get()


def test_an_event_is_signed_as_the_standard_says(receiver):
    services.record_event("version.ready", {"model": "m", "version": 1})
    assert services.deliver_due() == 1
    ((headers, body),) = receiver.posts
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(b"k" * 32, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(headers["webhook-timestamp"]) - timezone.now().timestamp()) < 60
    assert headers["content-type"] == "application/json"
    assert json.loads(body).keys() == {"type", "timestamp", "data"}


def test_the_signature_is_that_of_the_standards_example():
    """The figures of the reference libraries' tests."""
    made = signature(
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",),
        event="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_secrets_sign_while_one_replaces_the_other(receiver, settings):
    settings.MODELS_WEBHOOK_SECRETS = [SECRET, OTHER]
    one()
    services.deliver_due()
    ((headers, _),) = receiver.posts
    assert [part.partition(",")[0] for part in headers["webhook-signature"].split(" ")] == ["v1", "v1"]


def test_each_receiver_gets_its_own_delivery(receiver, settings):
    settings.MODELS_WEBHOOK_URLS = [receiver.url, receiver.url + "&second=yes"]
    services.record_event("version.ready", {})
    services.deliver_due()
    assert len(receiver.posts) == 2
    assert len({headers["webhook-id"] for headers, _ in receiver.posts}) == 1


def test_what_is_delivered_is_not_sent_again(receiver):
    one()
    services.deliver_due()
    make_due()
    assert services.deliver_due() == 0
    assert WebhookDelivery.objects.get().state == "delivered"


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 429, 500, 503])
def test_refusal_or_redirect_is_retried_with_the_same_id(receiver, status):
    receiver.status = status
    one()
    services.deliver_due()
    waiting = WebhookDelivery.objects.get()
    assert (waiting.state, waiting.attempts, f"answered {status}" in waiting.error) == ("waiting", 1, True)
    assert services.deliver_due() == 0
    receiver.status = 200
    make_due()
    services.deliver_due()
    # A redirect is not followed: the second request is the second attempt.
    assert [headers["webhook-id"] for headers, _ in receiver.posts] == [waiting.event] * 2
    assert WebhookDelivery.objects.get().state == "delivered"


def test_the_pauses_grow_and_the_last_attempt_gives_up(receiver):
    receiver.status = 500
    one()
    pauses = []
    for _ in PAUSES:
        make_due()
        began = timezone.now()
        services.deliver_due()
        pauses.append((WebhookDelivery.objects.get().next_attempt_at - began).total_seconds())
    assert pauses == pytest.approx(PAUSES, abs=60)
    make_due()
    services.deliver_due()
    assert WebhookDelivery.objects.get().state == "lost"
    make_due()
    assert services.deliver_due() == 0


def test_a_receiver_that_wants_no_more_gets_no_more(receiver):
    receiver.status = 410
    one()
    services.deliver_due()
    assert (WebhookDelivery.objects.get().state, WebhookDelivery.objects.get().attempts) == ("lost", 1)


def test_an_address_that_left_the_settings_gets_nothing(receiver, settings):
    one()
    settings.MODELS_WEBHOOK_URLS = []
    services.deliver_due()
    assert (receiver.posts, WebhookDelivery.objects.get().state) == ([], "lost")


def test_running_delivery_is_not_sent_by_another_replica(receiver):
    delivery = one()
    WebhookDelivery.objects.filter(pk=delivery.pk).update(next_attempt_at=timezone.now() + timedelta(seconds=60))
    assert services.deliver_due() == 0


def test_nothing_is_recorded_without_an_address(settings):
    settings.MODELS_WEBHOOK_URLS = []
    services.record_event("version.ready", {})
    assert not WebhookDelivery.objects.exists()


def test_an_event_is_rolled_back_with_its_change(receiver):
    def activate_and_fail() -> None:
        with transaction.atomic():
            services.activate(version(), by="x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        activate_and_fail()
    assert not WebhookDelivery.objects.exists()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/",
        "https://127.0.0.1:9/",
        "https://localhost:9/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]:9/",
        "https://[::ffff:10.0.0.1]/",
        "https://0.0.0.0:9/",
        "https://100.64.0.1/",
        "http://example.com/",
        "ftp://example.com/",
        "https://user:password@example.com/",
        "https:///path",
        "https://example.com:port/",
    ],
)
def test_a_private_or_odd_address_is_refused(url):
    with pytest.raises(DeliveryError, match="private|address"):
        deliver(Receiver(url, (SECRET,)), event="msg_1", timestamp=1, body=b"{}")


def test_a_receiver_that_is_not_there_is_tried_again(receiver, settings):
    settings.MODELS_WEBHOOK_URLS = ["http://127.0.0.1:1/"]
    one()
    services.deliver_due()
    assert "was not reached" in WebhookDelivery.objects.get().error
    assert WebhookDelivery.objects.get().state == "waiting"


@pytest.mark.parametrize(
    ("urls", "secrets", "sentence"),
    [
        (["https://hooks.example.com/"], [SECRET], ""),
        (["https://hooks.example.com/"], [], "must be signed"),
        (["http://hooks.example.com/"], [SECRET], "has no TLS"),
        (["hooks.example.com"], [SECRET], "not one of the form"),
        (["https://hooks.example.com/"], ["whsec_c2hvcnQ="], "24 to 64 bytes"),
        (["https://hooks.example.com/"], ["secret!"], "whsec_<base64>"),
    ],
)
def test_a_wrong_setting_is_named(settings, urls, secrets, sentence):
    settings.MODELS_WEBHOOK_URLS, settings.MODELS_WEBHOOK_SECRETS = urls, secrets
    found = " ".join(item.msg for item in run_checks(tags=[OWN]) if item.id == "models_registry.E005")
    assert bool(found) is bool(sentence) and sentence in found
    with pytest.raises(ImproperlyConfigured, match=f"E005: .*{sentence}") if sentence else nullcontext():
        require_sound_settings()


# What is told


def replica(state: str, reason: str = "") -> None:
    model = services.get_model("m")
    serving = model.active_version_id if state == "serving" else None
    report = ModelReport(model.pk, state, model.generation, serving, reason, desired_generation=model.generation)
    services.report_replica("r", host="h", pid=1, started_at=timezone.now(), reports=[report], changed=True)


def told(receiver: Received) -> list[tuple[str, dict]]:
    services.note_rollouts()
    services.deliver_due()
    return receiver.events


def test_activations_and_their_rollouts_are_told_once(receiver):
    services.activate(version(), by="ann", reason="the first")
    replica("loading")
    replica("failed", "No memory.")
    told(receiver)
    replica("serving")
    told(receiver)
    found = told(receiver)
    assert [kind for kind, _ in found] == ["activation.created", "rollout.failed", "rollout.completed"]
    assert (found[0][1]["version"], found[0][1]["by"], found[0][1]["reason"]) == (1, "ann", "the first")
    assert found[1][1]["failed"] == [{"replica": "h:1", "reason": "No memory."}]
    assert (found[2][1]["version"], found[2][1]["live"], found[2][1]["serving"]) == (1, 1, 1)


def test_an_old_activation_is_not_told_late(receiver):
    services.activate(version(), by="ann")
    services.get_model("m").activations.update(activated_at=timezone.now() - timedelta(days=1))
    replica("serving")
    assert [kind for kind, _ in told(receiver)] == ["activation.created"]


def test_rolled_back_canary_is_reported_with_its_figure(receiver):
    services.activate(version(number=1), by="ann")
    canary = services.start_canary(version(number=2), percent=10, by="ann")
    services.roll_back_canary(Canary.objects.get(pk=canary.pk), by="guardrails", reason="5 of 50 requests failed.")
    kind, data = told(receiver)[-1]
    assert (kind, data["version"], data["reason"]) == ("canary.rolled_back", 2, "5 of 50 requests failed.")


def test_canary_ended_by_hand_is_no_rollback(receiver):
    services.activate(version(number=1), by="ann")
    services.start_canary(version(number=2), percent=10, by="ann")
    services.end_canary(services.get_model("m"), by="ann")
    assert [kind for kind, _ in told(receiver)] == ["activation.created"]


def test_verdicts_are_told(receiver, storage_directory):
    save(constant(1), storage_directory / "m/a.joblib")
    (storage_directory / "m/b.joblib").write_bytes(b"no model")
    services.discover()
    for found in ModelVersion.objects.order_by("number"):
        services.check_version(found, holder="test")
    events = dict(told(receiver))
    assert events.keys() == {"version.ready", "version.rejected"}
    rejected = ModelVersion.objects.get(state=State.REJECTED)
    assert events["version.rejected"]["reason"] == rejected.reason
    assert len(events["version.ready"]["digest"]) == 64


def test_the_admin_lists_deliveries(admin_client, receiver):
    receiver.status = 503
    one()
    services.deliver_due()
    page = admin_client.get("/admin/models_registry/webhookdelivery/").content.decode()
    for text in ("answered 503", "activation.created", "m 1", "waiting"):
        assert text in page
    assert re.search(r"<title>\s*Webhooks", page)


def test_the_empty_list_of_webhooks_names_the_setting(admin_client):
    page = admin_client.get("/admin/models_registry/webhookdelivery/").content.decode()
    assert "MODELS_WEBHOOK_URLS" in page
