"""Makes the console the admin's site."""

from django.contrib.admin.apps import AdminConfig


class ConsoleConfig(AdminConfig):
    default_site = "gateway.console.site.ConsoleSite"
