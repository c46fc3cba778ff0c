"""Django's URL configuration: the pipeline's endpoints, the pages, the registry's API and the admin."""

from django.contrib import admin
from django.urls import include, path, re_path

from mlapi.http.routes import ENDPOINTS
from mlapi.pages import base, playground
from mlapi.views import endpoint_view

admin.autodiscover()
admin.site.login_template = "mlapi/login.html"

urlpatterns = [
    *(re_path(f"^{endpoint.pattern}$", endpoint_view(endpoint), name=endpoint.name) for endpoint in ENDPOINTS),
    path("", playground.home, name="home"),
    re_path(r"^docs/?$", base.docs, name="docs"),
    path("client.py", base.client, name="client"),
    path("api/", include("mlapi.api.urls")),
    path("admin/", include("mlapi.sign_in.urls")),
    path("admin/", admin.site.urls),
]

handler400 = "mlapi.views.bad_request"
handler403 = "mlapi.views.permission_denied"
handler404 = "mlapi.views.not_found"
handler500 = "mlapi.views.server_error"
