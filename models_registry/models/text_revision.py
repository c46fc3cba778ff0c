"""Earlier model cards and notes."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from models_registry.models.registered_model import RegisteredModel
from models_registry.models.version import ModelVersion


class TextRevision(models.Model):
    """A model card, or notes on a version, that another text replaced; rows are only added."""

    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="text_revisions")
    version = models.ForeignKey(
        ModelVersion,
        null=True,
        on_delete=models.PROTECT,
        related_name="text_revisions",
        help_text="The version that the notes are about; empty: the text is the model card.",
    )
    number = models.PositiveIntegerField(help_text="1 is the first text; the present text has the next number.")
    text = models.TextField(blank=True)
    changed_at = models.DateTimeField()
    changed_by = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        ordering = ["-number"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["model", "number"], condition=Q(version__isnull=True), name="unique_revision_of_a_card"
            ),
            models.UniqueConstraint(
                fields=["version", "number"], condition=Q(version__isnull=False), name="unique_revision_of_notes"
            ),
        ]

    def __str__(self) -> str:
        return f"{'Notes on' if self.version else 'Card of'} {self.version or self.model}, revision {self.number}"
