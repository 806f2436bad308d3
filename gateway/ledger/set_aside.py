"""What an operator does with payloads that were set aside: look at them, and throw them away."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from gateway.models import Audit, SetAside


def discard_set_aside(actor: str, payload_ids: Sequence[int]) -> int:
    """Delete payloads that were looked at. Returns how many there were; each leaves an audit."""
    with transaction.atomic():
        rows = list(
            SetAside.objects.select_for_update()
            .filter(pk__in=payload_ids)
            .values_list("pk", "channel", "external_id", "reason")
        )
        SetAside.objects.filter(pk__in=[row[0] for row in rows]).delete()
        Audit.objects.bulk_create(
            Audit(
                actor=actor,
                action="discard_set_aside",
                row=f"setaside {key}",
                detail={"channel": channel, "external_id": external_id, "reason": reason},
            )
            for key, channel, external_id, reason in rows
        )
    return len(rows)
