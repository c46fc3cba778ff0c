"""The app of the external identities."""

from django.apps import AppConfig


class SignInConfig(AppConfig):
    """Which account belongs to which identity."""

    name = "mlapi.sign_in"
    label = "sign_in"
    verbose_name = "Sign-in"
    default_auto_field = "django.db.models.BigAutoField"
