"""Links of accounts with identities of a provider, and marks of one-time passwords."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class ExternalIdentity(models.Model):
    """The link between an account and a person at an identity provider.

    An issuer promises that a subject never names another person. A name or an address can move to another person.
    """

    issuer = models.CharField(max_length=255)
    subject = models.CharField(max_length=255)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="external_identities")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["issuer", "subject"], name="one_account_per_identity")]

    def __str__(self) -> str:
        """Return the subject and its issuer."""
        return f"{self.subject} of {self.issuer}"


class OneTimePassword(models.Model):
    """Marks an account whose password is a one-time password; the next password change deletes the mark."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="one_time_password")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        """Return the account's name in a sentence."""
        return f"One-time password of {self.user}"
