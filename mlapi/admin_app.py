"""Defers the import of the admin's pages until the first request for one of them.

Serving workers and management commands do not need these pages, which are half of the modules imported at start.
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
    """Check the pages of every app: this imports them, as their checks would otherwise be skipped."""
    admin.autodiscover()
    return list(check_admin_app(**asked))
