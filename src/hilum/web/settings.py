"""What `hilum serve` was asked for, and the limits that hold before anything is decoded."""

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from hilum.errors import HilumError


@dataclass(frozen=True)
class Limits:
    """Bounds of what a request may ask for, and of what is in work at a time.

    upload_bytes: of one request. memory_bytes: of all requests that are being received or answered. files: images of
    one request, those in a zip included. pixels: of one image. decode_seconds, decode_bytes: time and memory for
    decoding one image. zip_ratio: how many times larger an entry of a zip may become. waiting: images that are accepted
    and not yet answered. batch, batch_seconds: images that go through the networks together, and how long the first
    waits for others. jobs, job_seconds: slow explanations that wait or are kept, and for how long. requests_per_second,
    burst: of one address. kept: images that --keep holds.
    """

    upload_bytes: int = 64 * 2**20
    memory_bytes: int = 512 * 2**20
    files: int = 200
    pixels: int = 64 * 10**6
    decode_seconds: int = 20
    decode_bytes: int = 2 * 2**30
    zip_ratio: int = 100
    waiting: int = 256
    batch: int = 32
    batch_seconds: float = 0.004
    receive_seconds: float = 60.0
    jobs: int = 16
    job_seconds: float = 600.0
    requests_per_second: float = 200.0
    burst: int = 400
    kept: int = 500


def check_title(title: str) -> str:
    """An application entity title: 1 to 16 characters. HilumError for any other.

    >>> check_title("THE TITLE OF HILUM")
    Traceback (most recent call last):
    hilum.errors.HilumError: 'THE TITLE OF HILUM' is no DICOM title; give 1 to 16 ASCII characters without a backslash
    """
    if not title.strip() or len(title) > 16 or "\\" in title or not (title.isascii() and title.isprintable()):
        raise HilumError(f"{title!r} is no DICOM title", "give 1 to 16 ASCII characters without a backslash")
    return title.strip()


@dataclass(frozen=True)
class Peer:
    """A DICOM application on the network that reports are sent to."""

    host: str
    port: int
    title: str

    @classmethod
    def of(cls, words: str) -> "Peer":
        """From HOST:PORT:TITLE. HilumError for anything else.

        >>> Peer.of("127.0.0.1:4242:ORTHANC")
        Peer(host='127.0.0.1', port=4242, title='ORTHANC')
        >>> Peer.of("orthanc")
        Traceback (most recent call last):
        hilum.errors.HilumError: --dicom-to 'orthanc' names no peer; give HOST:PORT:TITLE, ...
        """
        host, port, title = ([*words.rsplit(":", 2), "", ""])[:3]
        if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
            raise HilumError(
                f"--dicom-to {words!r} names no peer", "give HOST:PORT:TITLE, such as 127.0.0.1:4242:ORTHANC"
            )
        return cls(host.strip("[]"), int(port), check_title(title))


@dataclass(frozen=True)
class Settings:
    """What the service serves and to whom. `runs`: run folders, their models come first; `runs_folder`: a folder of
    runs; `hosts`: further names under which the service may be reached; `token`: None asks for none; `dicom_port`:
    where DICOM instances are taken under the title `dicom_title`, None takes none; `dicom_to`: gets the reports."""

    runs: tuple[Path, ...] = ()
    runs_folder: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    hosts: tuple[str, ...] = ()
    keep: bool = False
    demo: bool = False
    show_identifiers: bool = False
    device: str = "auto"
    workers: int = 0
    tls: bool = False
    dicom_port: int | None = None
    dicom_title: str = "HILUM"
    dicom_to: Peer | None = None
    limits: Limits = field(default_factory=Limits)

    @property
    def is_local(self) -> bool:
        """Whether the service can be reached from this machine alone.

        >>> Settings().is_local, Settings(host="0.0.0.0").is_local
        (True, False)
        """
        return self.host == "localhost" or _is_loopback(self.host)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
