"""An OpenID Connect provider on loopback, with people who can sign in there."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urljoin

import authlib.deprecate  # noqa: F401 - its import puts a filter before those of pytest: so it comes first
import requests

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "authlib.jose module is deprecated")
    warnings.filterwarnings("ignore", "The httpx module is deprecated")
    import oidc_provider_mock

PEOPLE = {
    "00u1": {"email": "ann@example.com", "given_name": "Ann", "family_name": "Lee", "groups": ["ml-admins"]},
    "00u2": {"email": "bob@example.com", "groups": ["sales"]},
    "00u3": {"email": "admin", "groups": ["ml-admins"]},
}


@contextmanager
def identity_provider() -> Iterator[str]:
    """Run the provider; give its issuer."""
    people = [oidc_provider_mock.User(sub=subject, claims=claims) for subject, claims in PEOPLE.items()]
    with oidc_provider_mock.run_server_in_thread(user_claims=people) as server:
        yield f"http://localhost:{server.server_port}"


def settings_for(issuer: str) -> dict[str, str]:
    """Return the environment in which a service signs people in at the provider."""
    return {
        "MLAPI_OIDC_ISSUER": issuer,
        "MLAPI_OIDC_CLIENT_ID": "registry",
        "MLAPI_OIDC_CLIENT_SECRET": "of the registry",
        "MLAPI_OIDC_NAME": "Example ID",
        "MLAPI_SIGN_IN_GROUPS": "ml-admins=superuser",
        "DJANGO_ALLOWED_HOSTS": "localhost,127.0.0.1",
    }


class Browser:
    """Follows the redirects of a sign-in as a browser would, its cookies kept."""

    def __init__(self, service_url: str) -> None:
        """Begin without cookies."""
        self.service_url = service_url
        self.session = requests.Session()
        self.session.headers["Accept"] = "text/html"

    def get(self, path: str, *, follow: bool = True) -> requests.Response:
        """Return the page at a path of the service."""
        return self.session.get(urljoin(self.service_url, path), allow_redirects=follow, timeout=30)

    def sign_in(self, subject: str = "", *, target: str = "", deny: bool = False) -> requests.Response:
        """Sign in as a person at the provider and return the last page."""
        asked = self.session.get(
            urljoin(self.service_url, "/admin/sign-in/"), params={"next": target} if target else {}, timeout=30
        )
        answer = {"action": "deny"} if deny else {"sub": subject}
        return self.session.post(asked.url, data=answer, timeout=30)
