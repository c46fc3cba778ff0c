"""The app of external identities and one-time passwords."""

from django.apps import AppConfig


class SignInConfig(AppConfig):
    """Links accounts with identities, and marks one-time passwords."""

    name = "mlapi.sign_in"
    label = "sign_in"
    verbose_name = "Sign-in"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the signal that marks sign-ins with a one-time password."""
        from mlapi.sign_in import one_time  # noqa: F401 - registers by being imported
