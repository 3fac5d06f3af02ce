"""Routes about the service itself: health, metrics, the token, a page of its addresses."""

import html
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST

from hilum.web.described import State, errors
from hilum.web.page.routes import html_page
from hilum.web.security import COOKIE, Doorkeeper
from hilum.web.service import Service

router = APIRouter()


@router.get("/healthz", response_model=State, operation_id="health", responses=errors())
def _health() -> Any:
    """Whether the service lives."""
    return {"status": "alive"}


@router.get(
    "/readyz",
    response_model=State,
    operation_id="ready",
    responses={**errors(), 503: {"model": State, "description": "The model is not loaded."}},
)
def _ready(request: Request) -> Response:
    """Whether the default model is loaded and images can be decoded."""
    service: Service = request.app.state.service
    if service.is_ready:
        return JSONResponse({"status": "ready"})
    return JSONResponse({"status": "not ready; see the terminal of the service"}, 503)


@router.get(
    "/metrics",
    operation_id="metrics",
    response_class=Response,
    responses={
        **errors(),
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "For Prometheus."},
    },
)
def _metrics(request: Request) -> Response:
    """Counts for Prometheus. They hold no names."""
    return Response(request.app.state.service.metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})


# -- the token ------------------------------------------------------------------------------------------------


@router.get("/login", include_in_schema=False)
def _login_form(request: Request) -> Response:
    return html_page(request, "login.html", page="login", error="")


@router.post("/login", include_in_schema=False)
async def _login(request: Request) -> Response:
    """The token once; from then on a cookie that no script reads and no other site sends."""
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    words = parse_qs((await request.body())[:4096].decode("utf-8", "replace")).get("token", [""])
    if doorkeeper.is_needed and not doorkeeper.is_token(words[0].strip()):
        sentence = "This is not the token; it was printed when the service started."
        return html_page(request, "login.html", status=401, page="login", error=sentence)
    response = RedirectResponse("/", 303)
    if doorkeeper.is_needed:
        tls = request.app.state.settings.tls
        response.set_cookie(
            COOKIE, doorkeeper.session, httponly=True, samesite="strict", secure=tls, path="/"
        )
    return response


# -- addresses ------------------------------------------------------------------------------------------------


@router.get("/docs", include_in_schema=False)
def _docs(request: Request) -> HTMLResponse:
    """The addresses of the OpenAPI as plain HTML: nothing is loaded from anywhere."""
    rows = []
    for path, methods in request.app.openapi()["paths"].items():
        for method, route in methods.items():
            cells = (method.upper(), path, route.get("description", ""))
            rows.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
    return HTMLResponse(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>hilum: REST service</title>'
        '<link rel="stylesheet" href="/static/style.css"><body><main><h1>REST service</h1>'
        "<p>Research use only. Not a medical device. "
        'The whole description: <a href="/openapi.json">openapi.json</a>.</p>'
        "<table><thead><tr><th>Method</th><th>Address</th><th>What it does</th></tr></thead><tbody>"
        + "".join(rows)
        + "</tbody></table></main></body></html>"
    )
