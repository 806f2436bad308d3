"""What a list's address may ask: its own filters and links, never what no page shows."""

from __future__ import annotations

from urllib.parse import urldefrag, urljoin, urlsplit

import pytest
from django.contrib import admin

from tests.console.crawl import Links
from tests.rights.people import Who, browser
from tests.rights.rows import KEY, fill

pytestmark = pytest.mark.django_db

LISTS = {
    model._meta.label_lower: f"/admin/{model._meta.label_lower.replace('.', '/')}/"
    for model in admin.site._registry
}
ENDS = ("", "__exact", "__gte", "__lt", "__startswith", "__regex", "__iregex", "__contains")


@pytest.mark.parametrize("end", ENDS)
def test_no_list_tells_an_agents_key_by_what_it_finds(end: str) -> None:
    fill()
    client = browser(Who.VIEWER)
    for value in (KEY, KEY[:4], "\x7f"):
        asked = {f"api_key{end}": value}
        assert client.get("/admin/gateway/agent/", asked).status_code == 400
        for path in ("turn", "routingrule"):
            asked = {f"agent__api_key{end}": value}
            assert client.get(f"/admin/gateway/{path}/", asked).status_code == 400


@pytest.mark.parametrize("name", ["text", "external_id", "session__chat_id", "pk", "id"])
def test_no_list_runs_a_pattern_that_somebody_typed(name: str) -> None:
    fill()
    client = browser(Who.VIEWER)
    for end in ("__regex", "__iregex"):
        answer = client.get("/admin/sessions_app/message/", {f"{name}{end}": "(x+x+)+y"})
        assert answer.status_code == 400


def test_no_list_compares_a_field_beyond_its_filters() -> None:
    fill()
    client = browser(Who.SUPERUSER)
    for model in admin.site._registry:
        address = LISTS[model._meta.label_lower]
        for field in model._meta.fields:
            for end in ("__gte", "__startswith", "__regex"):
                answer = client.get(address, {f"{field.name}{end}": "a"})
                assert answer.status_code == 400, (address, field.name)


def test_every_link_of_every_list_and_of_the_start_page_is_answered() -> None:
    fill()
    client = browser(Who.SUPERUSER)
    asked: set[str] = set()
    for address in ("/admin/", *LISTS.values()):
        links = Links()
        links.feed(client.get(address).content.decode())
        whole = {urldefrag(urljoin(address, link)).url for link in links.found}
        asked |= {link for link in whole if urlsplit(link).path in LISTS.values()}
    assert {name for link in asked for name in urlsplit(link).query.split("=")[:1]} >= {
        "state__exact", "contact__id__exact", "agent__id__exact", "channel", "access__exact",
    }  # fmt: skip
    assert [link for link in sorted(asked) if client.get(link).status_code != 200] == []
