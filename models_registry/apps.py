"""The registry app."""

from django.apps import AppConfig


class ModelsRegistryConfig(AppConfig):
    """Models, their versions, the desired state, and the replicas' reports."""

    name = "models_registry"
    verbose_name = "Model registry"

    def ready(self) -> None:
        """Apply default settings, register the system checks, and store tokens only as digests."""
        from models_registry.defaults import apply_defaults

        apply_defaults()
        from models_registry import checks  # noqa: F401 - registers by being imported
        from models_registry.services.tokens import store_only_digests

        store_only_digests()
