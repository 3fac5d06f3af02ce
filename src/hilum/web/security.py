"""Who may ask: the name in the Host header, the origin of a page, the token; and the headers of every answer.

References
    Jackson C, Barth A, Bortz A, Shao W, Boneh D. Protecting browsers from DNS rebinding attacks. CCS (2007).
    W3C. Fetch Metadata Request Headers; Content Security Policy Level 3.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from hilum.web.settings import Settings

COOKIE = "hilum_session"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; worker-src 'self'; "
    "manifest-src 'self'"
)
"""No script or style but the service's own files, nothing from another host."""

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
"""Of every answer; a route may set its own policy."""


class Forbidden(Exception):
    """A request that is not answered. `status`: of the answer."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


def check_host(host: str | None, settings: Settings) -> None:
    """Forbidden for a Host header with a name that is not the service's own. A page of another name whose address was
    rebound to this machine must not read what lies here. Bound wider, an address in digits is always right: rebinding
    needs a name.

    >>> check_host("localhost:8000", Settings())
    >>> check_host("evil.example:8000", Settings())
    Traceback (most recent call last):
    hilum.web.security.Forbidden: the name evil.example is not that of this service; use http://127.0.0.1:8000/, or ...
    """
    name = _name_of(host or "")
    if name in {"localhost", settings.host, *settings.hosts}:
        return
    address = _address_of(name)
    if address is not None and (address.is_loopback or not settings.is_local):
        return
    shown = "".join(letter for letter in name[:80] if letter.isascii() and letter.isprintable()) or "(none)"
    scheme = "https" if settings.tls else "http"
    raise Forbidden(
        f"the name {shown} is not that of this service; use {scheme}://{settings.host}:{settings.port}/, "
        "or start it with --allow-host",
        421,
    )


def _name_of(host: str) -> str:
    """The name without port and brackets, "" where it is no name."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _address_of(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(name)
    except ValueError:
        return None


def check_origin(method: str, headers: Mapping[str, str], scheme: str) -> None:
    """Forbidden for a changing request that another site's page has sent, and for one with a cookie that does not say
    where it comes from. Programs send neither cookie nor origin.

    >>> check_origin("POST", {"host": "127.0.0.1:8000", "sec-fetch-site": "same-origin"}, "http")
    >>> check_origin("POST", {"host": "127.0.0.1:8000", "origin": "http://evil.example"}, "http")
    Traceback (most recent call last):
    hilum.web.security.Forbidden: a page of another site can't use this service; open the service's own page
    """
    if method in SAFE_METHODS:
        return
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    is_foreign = (site is not None and site not in ("same-origin", "none")) or (
        origin is not None and origin != f"{scheme}://{headers.get('host', '')}"
    )
    if is_foreign or (site is None and origin is None and COOKIE in headers.get("cookie", "")):
        raise Forbidden("a page of another site can't use this service; open the service's own page", 403)


class Doorkeeper:
    """Compares tokens in constant time. A browser that has given the token once gets a cookie, which holds a number of
    this session of the service and not the token.

    >>> doorkeeper = Doorkeeper("secret")
    >>> doorkeeper.knows({"authorization": "Bearer secret"}), doorkeeper.knows({"authorization": "Bearer no"})
    (True, False)
    >>> Doorkeeper(None).knows({})
    True
    """

    def __init__(self, token: str | None) -> None:
        self._token = None if token is None else token.encode()
        key = secrets.token_bytes(32)
        self.session = hmac.new(key, self._token or b"", hashlib.sha256).hexdigest()

    @property
    def is_needed(self) -> bool:
        """Whether a token is asked for.

        >>> Doorkeeper(None).is_needed
        False
        """
        return self._token is not None

    def is_token(self, word: str) -> bool:
        """Whether a word is the token.

        >>> Doorkeeper("secret").is_token("secret")
        True
        """
        return self._token is not None and hmac.compare_digest(word.encode(), self._token)

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Whether a request carries the token or the cookie of a session; true where no token is asked for.

        >>> doorkeeper = Doorkeeper("secret")
        >>> doorkeeper.knows({"cookie": f"{COOKIE}={doorkeeper.session}"})
        True
        """
        if self._token is None:
            return True
        scheme, _, word = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(word.strip()):
            return True
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return morsel is not None and hmac.compare_digest(morsel.value.encode(), self.session.encode())
