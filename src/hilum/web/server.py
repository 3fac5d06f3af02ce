"""Binds the address, prints where the service is, and runs it until Ctrl-C."""

import secrets
import socket
from dataclasses import replace
from pathlib import Path

from hilum.errors import HilumError
from hilum.progress import say
from hilum.web.settings import Settings


def serve(settings: Settings, certificate: Path | None = None, key: Path | None = None) -> None:
    """Serves until Ctrl-C. HilumError when the extra is not installed, the address can't be used, or a key is without
    its certificate.

    >>> serve(Settings(), key=Path("key.pem"))
    Traceback (most recent call last):
    hilum.errors.HilumError: --tls-key needs --tls-certificate; give both
    """
    if (certificate is None) != (key is None):
        given, other = ("key", "certificate") if certificate is None else ("certificate", "key")
        raise HilumError(f"--tls-{given} needs --tls-{other}", "give both")
    try:
        import uvicorn

        from hilum.web.app import create_app
    except ModuleNotFoundError as error:
        raise HilumError(
            f"hilum serve needs {error.name}, which is not installed",
            "install it: pip install 'hilum[serve]'",
        ) from None
    is_new = settings.token is None and not settings.is_local
    if is_new:
        settings = replace(settings, token=secrets.token_urlsafe(24))
    with bound(settings.host, settings.port) as listening:
        settings = replace(settings, port=listening.getsockname()[1])
        config = uvicorn.Config(
            create_app(settings),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=5,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        for line in welcome(settings, show_token=is_new):
            say(line)
        uvicorn.Server(config).run(sockets=[listening])


def bound(host: str, port: int) -> socket.socket:
    """A socket at an address. HilumError when it can't be used.

    >>> bound("no.such.host.invalid", 0)
    Traceback (most recent call last):
    hilum.errors.HilumError: no.such.host.invalid:0 can't be used (...); choose another --host or --port
    """
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise HilumError(
            f"{host}:{port} can't be used ({reason})", "choose another --host or --port"
        ) from None
    return listening


def welcome(settings: Settings, show_token: bool = False) -> list[str]:
    """What is printed at the start.

    >>> welcome(Settings(port=8000))[0]
    'http://127.0.0.1:8000/ serves the page and the REST service; Ctrl-C stops it.'
    """
    scheme = "https" if settings.tls else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    lines = [f"{scheme}://{host}:{settings.port}/ serves the page and the REST service; Ctrl-C stops it."]
    if show_token:
        lines.append(f"Token, shown once: {settings.token}")
    if not settings.is_local and not settings.tls:
        lines.append(
            "The connection is not encrypted: give --tls-certificate and --tls-key, or use a proxy with TLS."
        )
    return [*lines, "Research use only; not a medical device."]
