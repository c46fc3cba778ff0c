"""The app `mlapi`: pages, templates and static files."""

from django.apps import AppConfig


class MlapiConfig(AppConfig):
    """The HTTP and gRPC service."""

    name = "mlapi"
    verbose_name = "mlapi"

    def ready(self) -> None:
        """Register the system checks."""
        from mlapi import checks  # noqa: F401 - registers by being imported
