"""The gateway's own pages."""

from django.urls import path

from gateway.chat import views

urlpatterns = [
    path("chat/", views.chat, name="chat"),
    path("chat/login/", views.login, name="chat-login"),
    path("chat/leave/", views.leave, name="chat-leave"),
]
