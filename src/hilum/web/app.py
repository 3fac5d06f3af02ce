"""The application: the gate, the routes of the REST service, and those of the page."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

import hilum
from hilum.errors import HilumError
from hilum.web import api_images, api_kept, api_state
from hilum.web.dicom.routes import router as dicomweb
from hilum.web.gate import Gate
from hilum.web.keep import NoSpace, NotKept
from hilum.web.limits import Busy
from hilum.web.models import NoSuchModel
from hilum.web.neighbors import NoNeighbors
from hilum.web.page.routes import router as page
from hilum.web.security import Doorkeeper
from hilum.web.service import Refusal, Service
from hilum.web.settings import Settings
from hilum.web.uploads import BadUpload

DESCRIPTION = """Class probabilities, explanations and similar cases for chest radiographs.

Research use only; not a medical device."""

STATUS = {NoSuchModel: 404, NotKept: 404, NoNeighbors: 409, NoSpace: 507}
"""Of the answer to a HilumError; any other kind is 422, a request that can't be answered as it is."""


def create_app(settings: Settings) -> FastAPI:
    """The service as an ASGI application. HilumError for a run that is none, or a database that can't be opened.

    >>> app = create_app(Settings(workers=1))
    >>> [path for path in app.openapi()["paths"] if path.endswith("predict")]
    ['/v1/predict']
    """
    service, doorkeeper = Service(settings), Doorkeeper(settings.token)
    listener = None if settings.dicom_port is None else _listener(service, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(service.start)
        if listener is not None:
            listener.start(asyncio.get_running_loop())
        yield
        if listener is not None:
            await run_in_threadpool(listener.stop)
        await run_in_threadpool(service.stop)

    app = FastAPI(
        title="hilum",
        version=hilum.__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.listener = listener
    app.state.settings, app.state.service, app.state.doorkeeper = settings, service, doorkeeper
    app.include_router(api_images.router)
    app.include_router(api_kept.router)
    app.include_router(api_state.router)
    app.include_router(dicomweb)
    app.include_router(page)
    app.add_exception_handler(HilumError, _sentence)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Busy, _busy)
    app.add_exception_handler(BadUpload, _bad_upload)
    app.add_middleware(
        Gate, settings=settings, doorkeeper=doorkeeper, memory=service.memory, metrics=service.metrics
    )
    return app


def _listener(service: Service, settings: Settings) -> Any:
    """The DICOM listener. HilumError when its extra is not installed."""
    try:
        from hilum.web.dicom.listener import Listener
    except ModuleNotFoundError as error:
        raise HilumError(
            f"--dicom-port needs {error.name}, which is not installed",
            "install it: pip install 'hilum[dicomnet]'",
        ) from None
    return Listener(service, settings)


def _sentence(request: Request, error: Exception) -> JSONResponse:
    status = error.status if isinstance(error, Refusal) else STATUS.get(type(error), 422)
    return JSONResponse({"error": str(error)}, status)


def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    words = {
        404: "there is nothing at this address; see /docs",
        405: "this address does not take that method",
    }
    sentence = words.get(error.status_code, str(error.detail))
    headers = {"Allow": _allowed(request)} if error.status_code == 405 else error.headers
    return JSONResponse({"error": sentence}, error.status_code, headers=headers)


def _allowed(request: Request) -> str:
    """The methods of every route at an address; starlette names those of the first."""
    matching = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return ", ".join(
        sorted({method for route in matching for method in getattr(route, "methods", None) or ()})
    )


def _invalid(request: Request, error: Exception) -> JSONResponse:
    """A parameter that does not fit: its name and what is wrong with it, not its value."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"][1:]) or "the body"
    return JSONResponse({"error": f"{place}: {first['msg'].lower()}; see /docs"}, 422)


def _busy(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Busy)
    return JSONResponse({"error": str(error)}, 429, headers={"Retry-After": str(error.seconds)})


def _bad_upload(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, BadUpload)
    return JSONResponse({"error": str(error)}, error.status)
