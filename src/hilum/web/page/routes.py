"""The addresses of the page. Everything here is HTML, a static file, or a file that is made and forgotten."""

import json
from functools import cache

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from jinja2 import Environment, PackageLoader, select_autoescape
from pydantic import TypeAdapter, ValidationError

from hilum.errors import DataError
from hilum.inference.prediction import Prediction
from hilum.inference.show import predictions_csv, probabilities_of
from hilum.run import Run
from hilum.web.page.demo import phantom_png
from hilum.web.page.files import static_files
from hilum.web.page.pdf import sheets_pdf
from hilum.web.page.sheets import parsed_sheets
from hilum.web.page.studies import report_of, study_of

router = APIRouter(include_in_schema=False)

REPORT_POLICY = (
    "sandbox allow-scripts allow-downloads allow-popups; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)
"""A report brings its own scripts: they run in a sandbox of their own that reaches nothing here."""


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("hilum.web.page"),
        autoescape=select_autoescape(),
        trim_blocks=True,
        lstrip_blocks=True,
    )


def html_page(request: Request, template: str, status: int = 200, **values: object) -> Response:
    """A page from a template.

    >>> from fastapi import FastAPI
    >>> from hilum.web.settings import Settings
    >>> app = FastAPI()
    >>> app.state.settings = Settings()
    >>> html_page(Request({"type": "http", "app": app}), "login.html", page="login", error="").status_code
    200
    """
    settings = request.app.state.settings
    text = _templates().get_template(template).render(settings=settings, **values)
    return Response(text, status, media_type="text/html; charset=utf-8")


def _runs(request: Request) -> dict[str, Run]:
    """The runs that the service was given, by id: no other file of a run can be reached."""
    return request.app.state.service.runs


@router.get("/")
def _reading(request: Request) -> Response:
    """Worklist and viewer."""
    return html_page(request, "reading.html", page="reading")


@router.get("/studies")
def _studies(request: Request) -> Response:
    """The study browser."""
    runs = _runs(request)
    lead = "Past studies, their reports, and their models to read images with."
    if not runs:
        lead = "No study was given. Start the service with runs: hilum serve runs/NAME, or hilum serve --runs runs."
    shown = [study_of(name, run) for name, run in runs.items()]
    return html_page(request, "studies.html", page="studies", lead=lead, studies=shown)


@router.get("/kept")
def _kept(request: Request) -> Response:
    """What lies at the service under --keep."""
    if not request.app.state.settings.keep:
        return JSONResponse({"error": "nothing is kept; start the service with --keep"}, 404)
    return html_page(request, "kept.html", page="kept")


@router.get("/studies/{name}/report/")
def _report(request: Request, name: str) -> Response:
    """The report of one study."""
    run = _runs(request).get(name)
    content = None if run is None else report_of(run)
    if content is None:
        return JSONResponse({"error": "there is no such report; open /studies for those that there are"}, 404)
    headers = {"Content-Security-Policy": REPORT_POLICY}
    return Response(content, media_type="text/html; charset=utf-8", headers=headers)


@router.get("/static/{name}")
def _static(request: Request, name: str) -> Response:
    """A file of the page itself."""
    file = static_files().get(name)
    if file is None:
        return JSONResponse({"error": "there is no such file"}, 404)
    headers = {"Cache-Control": "no-cache", "ETag": file.tag}
    if request.headers.get("If-None-Match") == file.tag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)


@router.get("/demo/phantom-{number}.png")
def _phantom(request: Request, number: int) -> Response:
    """A synthetic image to try the page with, under --demo."""
    if not (request.app.state.settings.demo and 1 <= number <= 12):
        return JSONResponse({"error": "there is no such phantom; start with hilum serve --demo"}, 404)
    return Response(phantom_png(number), media_type="image/png")


@router.post("/export/answers.csv")
async def _answers_csv(request: Request) -> Response:
    """Answers as CSV with the columns of `hilum predict --format csv`."""
    try:
        answers = TypeAdapter(list[Prediction]).validate_json(await request.body())
    except ValidationError as error:
        return _refused(error)
    classes = list(dict.fromkeys(name for answer in answers for name in probabilities_of(answer)))
    return Response(predictions_csv(answers, classes) + "\n", media_type="text/csv; charset=utf-8")


@router.post("/export/sheets.pdf")
async def _sheets(request: Request) -> Response:
    """One printable page per image, from the answers and the pixels that the page holds."""
    try:
        parsed = parsed_sheets(await request.body())
    except (ValidationError, DataError, json.JSONDecodeError) as error:
        return _refused(error)
    return Response(await run_in_threadpool(sheets_pdf, parsed), media_type="application/pdf")


def _refused(error: Exception) -> Response:
    sentence = (
        str(error) if isinstance(error, DataError) else "these are no answers of this service; open its page"
    )
    return JSONResponse({"error": sentence}, 422)
