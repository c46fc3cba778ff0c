"""The sign-in routes, under /admin/, so that a balancer handles them like the admin."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.urls import path

from mlapi.sign_in import own_password, pages

urlpatterns: list[Any] = [path("login/", pages.login), path("own-password/", own_password.page, name="own-password")]

if settings.OIDC_LOGIN:
    from allauth.account.models import EmailAddress
    from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken

    from mlapi.sign_in import oidc

    # allauth's tables stay empty: the registry links accounts itself, and settings define the provider.
    admin.site.unregister([EmailAddress, SocialAccount, SocialApp, SocialToken])
    provider = {"provider_id": oidc.PROVIDER}
    urlpatterns += [
        path("sign-in/", oidc.start, name="sign-in"),
        path(
            "sign-in/callback/", lambda request, provider_id: oidc.finish(request), provider, "openid_connect_callback"
        ),
    ]
