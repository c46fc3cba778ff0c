"""Limits of the rights of a group or of a user to some models."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

LIMIT_PATTERN = r"^[A-Za-z0-9*][A-Za-z0-9._*-]{0,99}$"


class ModelLimit(models.Model):
    """A name or a pattern that limits the permissions of a group or user; without one, they are not limited."""

    group = models.ForeignKey("auth.Group", null=True, on_delete=models.CASCADE, related_name="model_limits")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="model_limits")
    pattern = models.CharField(
        "model",
        max_length=100,
        validators=[
            RegexValidator(
                LIMIT_PATTERN.replace("$", r"\Z"), "Expected a model's name; * matches any characters: fraud-*."
            )
        ],
        help_text="A name, or a pattern: fraud-* matches every model whose name starts with fraud-.",
    )

    class Meta:
        ordering = ["pattern"]
        verbose_name = "limit to models"
        verbose_name_plural = "limits to models"
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=Q(group__isnull=True, user__isnull=False) | Q(group__isnull=False, user__isnull=True),
                name="limit_of_a_group_or_a_user",
            ),
            models.CheckConstraint(condition=Q(pattern__regex=LIMIT_PATTERN), name="limit_can_match_a_name"),
            models.UniqueConstraint(fields=["group", "pattern"], name="unique_limit_of_a_group"),
            models.UniqueConstraint(fields=["user", "pattern"], name="unique_limit_of_a_user"),
        ]

    def __str__(self) -> str:
        return self.pattern
