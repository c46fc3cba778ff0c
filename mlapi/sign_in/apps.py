"""The app of the external identities and of one-time passwords."""

from django.apps import AppConfig


class SignInConfig(AppConfig):
    """Which account belongs to which identity."""

    name = "mlapi.sign_in"
    label = "sign_in"
    verbose_name = "Sign-in"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the mark of sign-ins by a one-time password."""
        from mlapi.sign_in import one_time  # noqa: F401 - registers by being imported
