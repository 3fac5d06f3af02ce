"""Takes DICOM instances by C-STORE, answers C-ECHO, and sends a report on each instance to the peer.

An instance goes the way of POST /v1/predict; its bytes are not decoded here and stay in memory. The sender's own status
waits for the report to be delivered, so nothing is queued, and what went wrong the sender hears.
"""

import asyncio
import io
import logging
import socket
import socketserver
import threading
from collections.abc import Coroutine
from ipaddress import ip_address
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification  # pyright: ignore[reportAttributeAccessIssue]
from pynetdicom.transport import ThreadedAssociationServer

from hilum.errors import HilumError
from hilum.progress import say
from hilum.web.dicom.answer import Reported, comment_of, keep, reported, status_of
from hilum.web.dicom.peer import deliver
from hilum.web.dicom.report import check_highdicom
from hilum.web.gate import described
from hilum.web.limits import Busy
from hilum.web.service import Refusal, Service
from hilum.web.settings import Settings
from hilum.web.uploads import Upload

ASSOCIATIONS = 8
"""At a time; each may hold the bytes of one instance while it is received."""

GREETING = 5
"""Seconds in which a connection must have asked for an association; until then it takes the place of item."""

PDU_BYTES = 2**20
"""A longer unit of the protocol is not read: ours are 16 KB, and the longest request is far below it."""


class _Dropped(io.BytesIO):
    """In the place of an instance that is too large: what follows of it is not kept."""

    def write(self, data: Any, /) -> int:
        return len(data)


class _Server(ThreadedAssociationServer):
    """A server that hangs up on strangers; `allowed`: addresses that are not."""

    allowed: frozenset[str] = frozenset()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return ip_address(client_address[0]).is_loopback or client_address[0] in self.allowed


class Listener:
    """The listener of a service. HilumError when the address can't be used or the extra is not installed, and when
    there is neither a peer nor --keep, as then nobody would get the answers.

    >>> Listener(Service(Settings(dicom_port=0)), Settings(dicom_port=0))
    Traceback (most recent call last):
    hilum.errors.HilumError: --dicom-port has nowhere to send its reports; give --dicom-to HOST:PORT:TITLE, or --keep
    """

    def __init__(self, service: Service, settings: Settings) -> None:
        self.service, self.settings = service, settings
        if settings.dicom_to is None and not settings.keep:
            raise HilumError(
                "--dicom-port has nowhere to send its reports", "give --dicom-to HOST:PORT:TITLE, or --keep"
            )
        check_highdicom()
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)  # its log may name what peers send
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server = _server(settings, self._handlers())
        self.port: int = self._server.server_address[1]

    def _handlers(self) -> list[Any]:
        return [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_ECHO, lambda event: 0x0000),
            (evt.EVT_CONN_OPEN, _bound_units),
            (evt.EVT_PDU_RECV, self._bound_instance),
        ]

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins to answer; `loop`: where the service runs.

        >>> settings = Settings(dicom_port=0, keep=True)
        >>> listener = Listener(Service(settings), settings)
        >>> loop = asyncio.new_event_loop()
        >>> listener.start(loop)
        >>> listener.stop()
        >>> loop.close()
        """
        self._loop = loop
        threading.Thread(target=self._server.serve_forever, name="dicom", daemon=True).start()
        peer = self.settings.dicom_to
        where = f"reports go to {peer.title} at {peer.host}:{peer.port}" if peer else "answers are kept"
        say(f"DICOM: {self.settings.dicom_title} at {self.settings.host}:{self.port}; {where}.")

    def stop(self) -> None:
        """Ends the associations and frees the port.

        >>> settings = Settings(dicom_port=0, keep=True)
        >>> Listener(Service(settings), settings).stop()
        """
        if self._loop is not None:
            socketserver.BaseServer.shutdown(self._server)
        for association in self._server.active_associations:
            association.abort()
        self._server.server_close()

    # -- one instance ----------------------------------------------------------------------------------------

    def _store(self, event: evt.Event) -> Dataset:
        """The status of a C-STORE; where it is none of success, with a sentence as its comment."""
        status, sentence = 200, ""
        try:
            self._take(event)
        except Busy as busy:
            status, sentence = 429, str(busy)
        except Refusal as refusal:
            status, sentence = refusal.status, str(refusal)
        except HilumError as error:
            status, sentence = 422, str(error)
        except Exception as error:
            say(f"an instance failed: {described(error)}")
            status, sentence = 500, "the service could not answer; see its terminal"
        self.service.metrics.instances.labels(str(status)).inc()
        answer = Dataset()
        answer.Status = status_of(status)
        if sentence:
            answer.ErrorComment = comment_of(sentence)
        return answer

    def _take(self, event: evt.Event) -> None:
        request: Any = event.request
        if isinstance(request.DataSet, _Dropped):
            most = self.settings.limits.upload_bytes
            raise Refusal(f"the instance has more than {most:,} bytes; send a smaller one", 413)
        data = event.encoded_dataset()
        with self.service.memory.taken(len(data)):
            self._answer(Upload("image 1", data))

    def _answer(self, image: Upload) -> None:
        """Predicts, keeps where that is asked for, and delivers. Refusal says which of them failed, and why."""
        served = self.service.models.default
        [item] = self._waited(reported(self.service, served, [image]))
        keep(self.service, served, [item])
        if item.report is None:
            raise Refusal(item.error, item.status)
        if self.settings.dicom_to is not None:
            deliver([item.report], self.settings.dicom_to, self.settings.dicom_title)

    def _waited(self, work: Coroutine[Any, Any, list[Reported]]) -> list[Reported]:
        """The result of work in the loop of the service."""
        assert self._loop is not None
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(2 * self.settings.limits.receive_seconds)
        except TimeoutError:
            future.cancel()
            raise Refusal("the answer took too long; send it again later", 408) from None

    def _bound_instance(self, event: evt.Event) -> None:
        """Drops what has been received of an instance that is larger than an upload may be."""
        message: Any = event.assoc.dimse.message
        stored = getattr(message, "data_set", None)
        if stored is not None and stored.tell() > self.settings.limits.upload_bytes:
            message.data_set = _Dropped(b"\0")


def _bound_units(event: evt.Event) -> None:
    """A unit of the protocol may state a length of 4 GB; a long one ends the connection."""
    connection: Any = event.assoc.dul.socket
    receive = connection.recv

    def bounded(number: int) -> bytearray:
        if number > PDU_BYTES:
            raise OSError("a unit of the protocol is too long")
        return receive(number)

    connection.recv = bounded


def _server(settings: Settings, handlers: list[Any]) -> _Server:
    seconds = settings.limits.receive_seconds
    entity = AE(settings.dicom_title)
    entity.require_called_aet = True
    entity.maximum_associations = ASSOCIATIONS
    entity.acse_timeout = GREETING
    entity.dimse_timeout = entity.network_timeout = seconds
    entity.add_supported_context(Verification)
    for context in AllStoragePresentationContexts:  # a CT is taken as well, to hear why it is not answered
        entity.add_supported_context(str(context.abstract_syntax), ALL_TRANSFER_SYNTAXES)
    allowed = _allowed(settings.dicom_to.host) if settings.dicom_to is not None else frozenset()
    try:
        address = _addresses(settings.host, settings.dicom_port or 0)[0]
        server: Any = entity.make_server(address, evt_handlers=handlers, server_class=_Server)
    except OSError as error:
        reason = error.strerror or str(error)
        raise HilumError(
            f"{settings.host}:{settings.dicom_port} can't be used ({reason})", "choose another --dicom-port"
        ) from None
    server.allowed = allowed
    return server


def _addresses(host: str, port: int) -> list[Any]:
    return [entry[4] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _allowed(host: str) -> frozenset[str]:
    """The addresses of the peer. HilumError when its name is not known."""
    try:
        return frozenset(address[0] for address in _addresses(host, 0))
    except OSError as error:
        reason = error.strerror or str(error)
        raise HilumError(
            f"--dicom-to {host} can't be resolved ({reason})", "name a host that is known"
        ) from None
