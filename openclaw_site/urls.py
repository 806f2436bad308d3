"""Where each page lives."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from gateway.api.page import docs
from gateway.api.site import api

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("api/v1/docs", docs, name="api-docs"),
    path("api/v1/", api.urls),
    path("", include("gateway.urls")),
]
