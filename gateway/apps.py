from django.apps import AppConfig


class GatewayConfig(AppConfig):
    name = "gateway"
    verbose_name = "Gateway"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from gateway import checks, sections  # noqa: F401  (registers the system checks)
        from gateway.ledger import by_hand

        sections.register()
        by_hand.register()
