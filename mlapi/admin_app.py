"""The admin's place among the apps: its pages are imported when they are first requested.

A worker that answers predictions and a command of the registry need none of them, and they are half of all that
would be imported at their start.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_admin_app, check_dependencies
from django.core import checks


class AdminWhenAsked(SimpleAdminConfig):
    """Django's admin; `mlapi.urls` registers its pages."""

    def ready(self) -> None:
        """Register the system checks."""
        checks.register(check_dependencies, checks.Tags.admin)
        checks.register(check_pages, checks.Tags.admin)


def check_pages(**asked: Any) -> list[checks.CheckMessage]:
    """Check the pages of every app: what is not imported would not be."""
    admin.autodiscover()
    return list(check_admin_app(**asked))
