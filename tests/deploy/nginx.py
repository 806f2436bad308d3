"""The shipped nginx site in a real nginx of its own: free ports, a certificate made on the spot."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.process import ROOT, free_port

SITE = ROOT / "deploy" / "nginx" / "openclaw.conf"
NAME = "localhost"
START_SECONDS = 30.0

MAIN = """\
{user}
worker_processes 2;
pid {base}/nginx.pid;
error_log {base}/logs/error.log;
events {{ worker_connections 768; }}
http {{
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    gzip on;
    ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3;
    ssl_prefer_server_ciphers on;
    access_log {base}/logs/access.log;
    client_body_temp_path {base}/temp/body;
    proxy_temp_path {base}/temp/proxy;
    fastcgi_temp_path {base}/temp/fastcgi;
    uwsgi_temp_path {base}/temp/uwsgi;
    scgi_temp_path {base}/temp/scgi;
    include {base}/openclaw.conf;
}}
"""
"""Debian's own nginx.conf (bookworm), with its folders elsewhere."""


def find(program: str) -> str:
    """The program's path. The test is skipped, by name, where it is not installed."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


def has_ipv6() -> bool:
    """Whether this machine can listen on ::1."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


class Nginx:
    """One nginx with the shipped site in front of `upstream_port`. Leave it with `remove`."""

    def __init__(self, upstream_port: int, https: int | None = None) -> None:
        self.upstream_port = upstream_port
        self.http, self.https = free_port(), https or free_port()
        self.url = f"https://{NAME}:{self.https}"
        # not pytest's folder: that is closed to the user nginx works as
        self.base = Path(tempfile.mkdtemp(prefix="openclaw-nginx-"))
        self.base.chmod(0o755)
        self.static = self.base / "cache" / "static"
        for folder in ("logs", "temp", "cache", "cache/static"):
            (self.base / folder).mkdir(mode=0o755)
            (self.base / folder).chmod(0o755)
        self.process: subprocess.Popen[bytes] | None = None
        self._make_certificate()
        self._write_configuration()

    def render(self, text: str) -> str:
        """The shipped file with the names and paths that the guide says to replace, and ports."""
        text = text.replace("chat.example.com", NAME)
        text = text.replace(f"/etc/letsencrypt/live/{NAME}/", f"{self.base}/")
        text = text.replace("/var/log/nginx/", f"{self.base}/logs/")
        text = text.replace("/var/cache/openclaw", f"{self.base}/cache")
        text = text.replace("127.0.0.1:8000", f"127.0.0.1:{self.upstream_port}")
        if not has_ipv6():
            text = re.sub(r"^ *listen \[::\].*\n", "", text, flags=re.M)
        for port, ours in ((80, self.http), (443, self.https)):
            text = re.sub(rf"\blisten {port}\b", f"listen 127.0.0.1:{ours}", text)
            text = text.replace(f"listen [::]:{port}", f"listen [::1]:{ours}")
        return text

    def start(self) -> None:
        """Returns when it listens."""
        self.process = subprocess.Popen(
            [find("nginx"), *self._arguments(), "-g", "daemon off;"],
            stdin=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._listens():
            assert self.process.poll() is None, f"nginx ended:\n{self.logs()}"
            assert time.monotonic() < deadline, f"nginx does not listen:\n{self.logs()}"
            time.sleep(0.02)

    def check(self) -> subprocess.CompletedProcess[str]:
        """`nginx -t`."""
        command = [find("nginx"), *self._arguments(), "-t"]
        return subprocess.run(command, capture_output=True, text=True, timeout=30)

    def trust(self) -> ssl.SSLContext:
        """For clients that know this certificate and no other."""
        return ssl.create_default_context(cafile=str(self.base / "fullchain.pem"))

    def access_lines(self) -> list[str]:
        """The site's access log."""
        return (self.base / "logs" / "openclaw.access.log").read_text().splitlines()

    def logs(self) -> str:
        """Everything in every log."""
        return "\n".join(path.read_text() for path in sorted((self.base / "logs").iterdir()))

    def remove(self) -> None:
        """End it and delete its folder."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)
        shutil.rmtree(self.base, ignore_errors=True)

    def _arguments(self) -> list[str]:
        return ["-p", str(self.base), "-c", str(self.base / "nginx.conf")]

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.https), 1).close()
        except OSError:
            return False
        return True

    def _write_configuration(self) -> None:
        user = "user www-data;" if os.geteuid() == 0 else ""
        (self.base / "nginx.conf").write_text(MAIN.format(base=self.base, user=user))
        (self.base / "openclaw.conf").write_text(self.render(SITE.read_text()))

    def _make_certificate(self) -> None:
        key, certificate = self.base / "privkey.pem", self.base / "fullchain.pem"
        names = f"subjectAltName=DNS:{NAME}"
        command = f"{find('openssl')} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
        options = ["-nodes", "-days", "2", "-subj", f"/CN={NAME}", "-addext", names]
        files = ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run([*command.split(), *options, *files], check=True, capture_output=True)
