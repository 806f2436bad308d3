"""The pages around the chat: the chat itself, its login, and the way out."""

from __future__ import annotations

from django.contrib.auth import logout
from django.contrib.auth.views import LoginView
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from gateway import invitations
from gateway.chat.access import Visitor, is_enabled, visitor
from gateway.chat.frames import MAX_TEXT_BYTES


@require_safe
@never_cache
def chat(request: HttpRequest) -> HttpResponse:
    """The chat page; with `?invite=` it lets a guest in first.

    403 with an explanation for a bad invitation or a blocked person; whoever is
    nobody yet is sent to the login, which also explains invitations.
    """
    if not is_enabled():
        raise Http404
    if "invite" in request.GET:
        return _let_in(request, request.GET["invite"])
    person = visitor(request.COOKIES)
    if person is None:
        return redirect("chat-login")
    if person.blocked:
        return render(request, "chat/refused.html", {"reason": "blocked"}, status=403)
    context = {"person": person, "max_text_bytes": MAX_TEXT_BYTES}
    response = render(request, "chat/chat.html", context)
    _renew(response, person)
    return response


@require_POST
def leave(request: HttpRequest) -> HttpResponse:
    """Stop being who this browser is: the guest if there is one, else the login."""
    response = redirect("chat-login")
    if invitations.read_cookie(request.COOKIES) is None:
        logout(request)
    invitations.forget_cookie(response)
    return response


login = LoginView.as_view(template_name="chat/login.html", next_page="chat")


def _let_in(request: HttpRequest, token: str) -> HttpResponse:
    try:
        guest = invitations.read_invitation(token)
    except invitations.BadInvitation as error:
        reason = "expired" if error.expired else "invalid"
        return render(request, "chat/refused.html", {"reason": reason}, status=403)
    response = redirect("chat")
    invitations.set_cookie(response, guest)
    return response


def _renew(response: HttpResponse, person: Visitor) -> None:
    if person.guest:
        invitations.set_cookie(response, invitations.Guest(person.user_id, person.name))
