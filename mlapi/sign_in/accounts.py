"""Maps an external identity to an account of the registry, with the groups of its claims."""

from __future__ import annotations

import structlog
from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.models import Group, User
from django.db import IntegrityError, transaction
from django.http import HttpRequest

from mlapi.sign_in.claims import Identity, SignInRefused
from mlapi.sign_in.models import ExternalIdentity

# In MLAPI_SIGN_IN_GROUPS this name gives superuser status instead of a group.
SUPERUSER = "superuser"
BACKEND = "django.contrib.auth.backends.ModelBackend"

log = structlog.get_logger(__name__)


def sign_in(request: HttpRequest, identity: Identity, *, through: str) -> User:
    """Sign in and return the account of the identity.

    Raises:
        SignInRefused: no group of the identity may use the registry, the account is not active, or its name is taken.
    """
    try:
        user = account_of(identity)
    except SignInRefused as error:
        log.warning("sign_in_refused", username=identity.username, through=through, reason=str(error))
        raise
    login(request, user, backend=BACKEND)
    request.session.set_expiry(int(settings.MLAPI_SIGN_IN_HOURS * 3600))
    log.info("signed_in", username=user.username, through=through)
    return user


def account_of(identity: Identity) -> User:
    """Return the account of an identity with updated groups; create the account at the first sign-in.

    An identity whose groups may no longer use the registry loses all permissions of earlier sign-ins.
    """
    granted = {name for group, name in settings.MLAPI_SIGN_IN_GROUPS.items() if group in identity.groups}
    link = ExternalIdentity.objects.select_related("user").filter(issuer=identity.issuer, subject=identity.subject)
    with transaction.atomic():
        existing = link.first()
        user = existing.user if existing else None
        if user is None and granted:
            user = _new_account(identity)
        if user is not None:
            _update(user, identity, granted)
    if not granted:
        raise SignInRefused(
            f"{identity.username} is signed in, but may not use this registry: none of its groups "
            f"({', '.join(sorted(identity.groups)) or 'none'}) is admitted. Ask the operator to admit one of them."
        )
    assert user is not None
    if not user.is_active:
        raise SignInRefused(f"The account {user.username} is not active. Ask the operator to activate it.")
    return user


def _new_account(identity: Identity) -> User:
    """Create an account; SignInRefused if another account has the name: it is never linked to this identity."""
    taken = SignInRefused(
        f"An account {identity.username} exists already and belongs to another sign-in. "
        "Ask the operator to rename or remove it; it is never taken over."
    )
    if User.objects.filter(username__iexact=identity.username).exists():
        raise taken
    try:
        with transaction.atomic():
            user = User(username=identity.username)
            user.set_unusable_password()
            user.save()
            ExternalIdentity.objects.create(issuer=identity.issuer, subject=identity.subject, user=user)
    except IntegrityError:  # another request of the same user created it first
        link = ExternalIdentity.objects.select_related("user").filter(issuer=identity.issuer, subject=identity.subject)
        found = link.first()
        if found is None:
            raise taken from None
        return found.user
    return user


def _update(user: User, identity: Identity, granted: set[str]) -> None:
    """Update the account from its claims; groups that MLAPI_SIGN_IN_GROUPS does not name are unchanged."""
    user.email, user.first_name, user.last_name = identity.email, identity.first_name, identity.last_name
    user.is_staff = bool(granted)
    user.is_superuser = SUPERUSER in granted
    user.save(update_fields=["email", "first_name", "last_name", "is_staff", "is_superuser"])
    mapped = set(settings.MLAPI_SIGN_IN_GROUPS.values()) - {SUPERUSER}
    user.groups.remove(*Group.objects.filter(name__in=mapped - granted))
    user.groups.add(*(Group.objects.get_or_create(name=name)[0] for name in sorted(granted & mapped)))
