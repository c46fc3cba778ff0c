"""Imports the admin's pages at the first request to Django, instead of at the start.

Serving workers and management commands do not need these pages, which would be half of the modules that they import.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_admin_app, check_dependencies
from django.core import checks


class LazyAdminConfig(SimpleAdminConfig):
    """Django's admin without autodiscovery; `mlapi.urls` imports its pages."""

    def ready(self) -> None:
        """Register the system checks."""
        checks.register(check_dependencies, checks.Tags.admin)
        checks.register(check_pages, checks.Tags.admin)


def check_pages(**options: Any) -> list[checks.CheckMessage]:
    """Return the problems of all apps' admin pages; pages that are not imported would not be checked."""
    admin.autodiscover()
    return list(check_admin_app(**options))
