"""hilum serve: the page and the REST service."""

from pathlib import Path
from typing import Annotated

import typer

from hilum.cli.app import app, example


@app.command(epilog=example("hilum serve runs/real --keep"))
def serve(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN", help="Run folders whose models and reports are served."),
    ] = None,
    runs_folder: Annotated[
        Path | None, typer.Option("--runs", metavar="FOLDER", help="Serve every run in this folder as well.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", help="The port; 0 takes a free one.", min=0, max=65535)
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="HILUM_TOKEN",
            help="What clients must know. Default: none on this machine alone, a new one when bound wider.",
        ),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep recent images and answers in SQLite beside the first run.")
    ] = False,
    demo: Annotated[bool, typer.Option("--demo", help="Offer phantom images to try the page with.")] = False,
    show_identifiers: Annotated[
        bool, typer.Option("--show-identifiers", help="Answers and exports may hold file names and case ids.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="A name under which the service may be reached. Repeatable."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    tls_certificate: Annotated[
        Path | None, typer.Option("--tls-certificate", help="A certificate (PEM): serve HTTPS.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="Its private key (PEM).")] = None,
    dicom_port: Annotated[
        int | None,
        typer.Option("--dicom-port", help="Take DICOM instances by C-STORE here.", min=0, max=65535),
    ] = None,
    dicom_title: Annotated[
        str, typer.Option("--dicom-title", help="The service's own application entity title.")
    ] = "HILUM",
    dicom_to: Annotated[
        str | None,
        typer.Option(
            "--dicom-to", metavar="HOST:PORT:TITLE", help="The peer that gets a report on each instance."
        ),
    ] = None,
) -> None:
    """Open a page for single radiographs on this machine, and the same as a REST service.

    Research use only; not a medical device. Without RUN the packaged models answer.
    """
    from hilum.web.server import serve as run_server
    from hilum.web.settings import Peer, Settings, check_title

    settings = Settings(
        runs=tuple(runs or ()),
        runs_folder=runs_folder,
        host=host,
        port=port,
        token=token,
        hosts=tuple(allow_host or ()),
        keep=keep,
        demo=demo,
        show_identifiers=show_identifiers,
        device=device,
        tls=tls_certificate is not None,
        dicom_port=dicom_port,
        dicom_title=check_title(dicom_title),
        dicom_to=None if dicom_to is None else Peer.of(dicom_to),
    )
    run_server(settings, tls_certificate, tls_key)
