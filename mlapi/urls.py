"""Every route."""

from django.contrib import admin
from django.urls import path, re_path

from mlapi.routes import ENDPOINTS
from mlapi.views import endpoint_view

urlpatterns = [
    *(re_path(f"^{endpoint.pattern}$", endpoint_view(endpoint), name=endpoint.name) for endpoint in ENDPOINTS),
    path("admin/", admin.site.urls),
]

handler400 = "mlapi.views.bad_request"
handler403 = "mlapi.views.permission_denied"
handler404 = "mlapi.views.not_found"
handler500 = "mlapi.views.server_error"
