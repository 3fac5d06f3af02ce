"""What the routes work with: models, decoding processes, batches, jobs and what is kept; from bytes to predictions."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hilum.data.images import Pixels
from hilum.errors import HilumError
from hilum.files import cache_folder
from hilum.inference.prediction import ModelName, Prediction
from hilum.inference.predictor import Predictor
from hilum.inference.stream import Prepared, Wanted
from hilum.progress import say
from hilum.threads import compute_alone
from hilum.web.batching import Batcher
from hilum.web.decoding import Decoders
from hilum.web.explaining import Lane, Seen
from hilum.web.gate import described
from hilum.web.jobs import Jobs
from hilum.web.keep import Kept
from hilum.web.limits import Places
from hilum.web.metrics import Metrics
from hilum.web.models import Models, Served, runs_of
from hilum.web.neighbors import References
from hilum.web.settings import Settings
from hilum.web.sniff import kind_of_file
from hilum.web.tasks import as_json
from hilum.web.uploads import Upload

EXPLANATIONS = 8
"""Quick explanations that wait or run at a time."""


@dataclass(frozen=True)
class Answer:
    """The prediction of one image. `status`: 200, or why it was refused; `png`: the grey image, where it is kept."""

    prediction: Prediction
    status: int
    png: bytes = b""


class Refusal(HilumError):
    """An upload that is refused as a whole. `status`: of the answer."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class Service:
    """Everything that a running service holds. `start` and `stop` are called once each.

    HilumError for a run that is none, and for a database of --keep that can't be opened.
    """

    def __init__(self, settings: Settings) -> None:
        limits = settings.limits
        self.settings, self.metrics = settings, Metrics()
        self.models = Models(runs_of(settings.runs, settings.runs_folder), settings.device)
        self.kept = Kept(self._place_of_kept(), limits.kept) if settings.keep else None
        self.decoders = Decoders(limits, settings.workers, self.metrics.replaced.inc)
        self.places, self.memory = Places(limits.waiting), Places(limits.memory_bytes)
        self.explanations = Places(EXPLANATIONS)
        self.jobs = Jobs(limits.jobs, limits.job_seconds)
        self.quick, self.slow, self.references = Lane(), Lane(), References()
        self.lane = ThreadPoolExecutor(1, thread_name_prefix="explaining", initializer=compute_alone)
        self._batchers: dict[str, Batcher] = {}
        self._lock = threading.Lock()
        self.is_ready = False
        self.metrics.places.set_function(lambda: self.places.used)
        self.metrics.memory.set_function(lambda: self.memory.used)
        self.metrics.jobs.set_function(lambda: self.jobs.active)

    @property
    def runs(self) -> dict[str, Any]:
        """The served runs by id.

        >>> Service(Settings()).runs
        {}
        """
        return self.models.runs

    def _place_of_kept(self) -> Path:
        """Beside the first run; without one in the user's cache."""
        first = next(iter(self.models.runs.values()), None)
        return (first.path if first is not None else cache_folder()) / "kept"

    def start(self) -> None:
        """Loads the default model and the decoding processes.

        >>> service = Service(Settings(workers=1))
        >>> service.start()
        >>> service.is_ready
        True
        >>> service.stop()
        """
        try:
            nursery = self.lane.submit(self.decoders.start)
            self.batcher(self.models.default)
            nursery.result()
            self.is_ready = True
        except HilumError as error:
            say(f"not ready: {error}")
        except Exception as error:
            say(f"not ready: {described(error)}")

    def stop(self) -> None:
        """Ends threads and processes.

        >>> Service(Settings(workers=1)).stop()
        """
        self.is_ready = False
        self.jobs.stop()
        self.lane.shutdown(wait=False, cancel_futures=True)
        self.decoders.stop()
        for batcher in self._batchers.values():
            batcher.stop()
        if self.kept is not None:
            self.kept.close()

    def batcher(self, served: Served) -> Batcher:
        """The batches of a model, which is loaded for it. HilumError when it can't be.

        >>> service = Service(Settings(workers=1))
        >>> service.batcher(service.models.default).predictor.classes
        ('normal', 'bacteria', 'virus')
        >>> service.stop()
        """
        with self._lock:
            if served.id not in self._batchers:
                limits, seen = self.settings.limits, self.metrics.batches.observe
                self._batchers[served.id] = Batcher(
                    served.predictor, limits.batch, limits.batch_seconds, seen=seen
                )
            return self._batchers[served.id]

    # -- from bytes to answers -------------------------------------------------------------------------------

    async def images(
        self, uploads: Sequence[Upload], hold: Callable[[int], None] = lambda number: None
    ) -> list[Upload]:
        """The uploads, each zip replaced by its images. Refusal for a zip that is damaged or a bomb, and for too many
        images. `hold`: counts the bytes that were unpacked.

        >>> service = Service(Settings(workers=1))
        >>> [image.name for image in asyncio.run(service.images([Upload("a", b""), Upload("b", b"")]))]
        ['image 1', 'image 2']
        >>> service.stop()
        """
        images: list[Upload] = []
        show_names, limits = self.settings.show_identifiers, self.settings.limits
        for upload in uploads:
            if kind_of_file(upload.data) != "zip":
                images.append(upload if show_names else Upload(f"image {len(images) + 1}", upload.data))
                continue
            bounds = {"files": limits.files, "bytes": 4 * limits.upload_bytes, "ratio": limits.zip_ratio}
            name = upload.name if show_names else "the zip"
            facts, payload = await self._task({"task": "unpack", "name": name, **bounds}, upload.data)
            if "error" in facts:
                raise Refusal(facts["error"], facts["status"])
            hold(len(payload))
            at = 0
            for entry in facts["entries"]:
                name = entry["name"] if show_names else f"image {len(images) + 1}"
                images.append(Upload(name, bytes(payload[at : at + entry["size"]])))
                at += entry["size"]
        if len(images) > limits.files:
            raise Refusal(f"the request holds more than {limits.files:,} images; send fewer at a time", 413)
        return images

    async def predictions(self, served: Served, images: Sequence[Upload]) -> list[Answer]:
        """An answer for each image, in order. Busy when there are no places for them; HilumError when the model can't
        be loaded or memory runs out.

        >>> service = Service(Settings(workers=1))
        >>> service.decoders.run = lambda header, data: ({"error": "it is empty", "status": 422}, bytearray())
        >>> [answer] = asyncio.run(service.predictions(service.models.default, [Upload("image 1", b"")]))
        >>> answer.status, answer.prediction.error
        (422, 'it is empty')
        >>> service.stop()
        """
        with self.places.taken(len(images)):
            batcher = await asyncio.get_running_loop().run_in_executor(None, self.batcher, served)
            turn = asyncio.Semaphore(2 * self.decoders.workers)  # a long request leaves room for others
            answers = await asyncio.gather(*(self._answer(batcher, image, turn) for image in images))
        for answer in answers:
            self.metrics.images.labels(_outcome(answer.prediction)).inc()
        return answers

    async def _answer(self, batcher: Batcher, image: Upload, turn: asyncio.Semaphore) -> Answer:
        predictor = batcher.predictor
        wanted = predictor.wanted()
        async with turn:
            keep = {"keep": self.kept is not None, **as_json(wanted)}
            facts, payload = await self.one("prepare", image, keep)
        if "error" in facts:
            return Answer(
                Prediction.failed(image.name, facts["error"], model_name(predictor)), facts["status"]
            )
        prepared, rest = prepared_of(image.name, facts, payload, wanted)
        prediction = await asyncio.wrap_future(batcher.ask(prepared))
        return Answer(prediction, 200, bytes(rest))

    async def one(self, task: str, image: Upload, more: dict[str, Any]) -> tuple[dict[str, Any], bytearray]:
        """The reply of a decoding process about one image (hilum.web.tasks).

        >>> service = Service(Settings(workers=1))
        >>> service.decoders.run = lambda header, data: ({"error": "it is empty", "status": 422}, bytearray())
        >>> asyncio.run(service.one("preview", Upload("image 1", b""), {"side": 64}))[0]["status"]
        422
        >>> service.stop()
        """
        header = {"task": task, "name": image.name, "pixels": self.settings.limits.pixels, **more}
        return await self._task(header, image.data)

    async def _task(self, header: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytearray]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.decoders.threads, self.decoders.run, header, data)

    async def seen(self, served: Served, image: Upload) -> Seen:
        """What a model sees of one image, for an explanation. Refusal for an image that can't be read.

        >>> service = Service(Settings(workers=1))
        >>> service.decoders.run = lambda header, data: ({"error": "it is empty", "status": 422}, bytearray())
        >>> asyncio.run(service.seen(service.models.default, Upload("image 1", b"")))
        Traceback (most recent call last):
        hilum.web.service.Refusal: it is empty
        """
        pixels = await self.pixels(served)
        facts, payload = await self.one("explain", image, as_json(Wanted([pixels])))
        if "error" in facts:
            raise Refusal(facts["error"], facts["status"])
        return Seen.of(facts, payload, pixels)

    async def pixels(self, served: Served) -> Pixels:
        """The pixel contract of a model, which is loaded for it.

        >>> service = Service(Settings(workers=1))
        >>> asyncio.run(service.pixels(service.models.default)).size
        (128, 128)
        >>> service.stop()
        """
        predictor = (await asyncio.get_running_loop().run_in_executor(None, self.batcher, served)).predictor
        return predictor.classifier.runtime.pixels

    def keep(self, answers: Sequence[Answer], served: Served) -> tuple[str, str]:
        """Keeps what could be read: the ids, separated by commas, and a sentence where keeping failed.

        >>> Service(Settings()).keep([], Served("packaged", "cpu"))
        ('', '')
        """
        if self.kept is None:
            return "", ""
        ids: list[str] = []
        try:
            for answer in answers:
                body = answer.prediction.model_dump(mode="json")
                name = answer.prediction.file if self.settings.show_identifiers else None
                digest = answer.prediction.model.digest
                ids.append(self.kept.add(answer.png, body, served.id, digest, name) if answer.png else "")
        except HilumError as error:
            return ",".join(ids), str(error)
        return ",".join(ids), ""


def model_name(predictor: Predictor) -> ModelName:
    """How the answers of a predictor name it.

    >>> from hilum.serving.predictor import packaged
    >>> model_name(packaged("cpu")).name
    'packaged'
    """
    own = predictor.classifier
    return predictor.name or ModelName(name=own.name, digest=own.digest)


def prepared_of(
    name: str, facts: dict[str, Any], payload: bytearray, wanted: Wanted
) -> tuple[Prepared, memoryview]:
    """An image from the reply of the task "prepare", and the bytes behind it.

    >>> wanted = Wanted([Pixels(size=(1, 2))])
    >>> prepared, rest = prepared_of("a", {"lungs": True, "in_colour": False}, bytearray(b"\\1\\2PNG"), wanted)
    >>> prepared.images[Pixels(size=(1, 2))].tolist(), bytes(rest)
    ([[1, 2]], b'PNG')
    """
    at, images = 0, {}
    for pixels in wanted.contracts:
        count = pixels.size[0] * pixels.size[1]
        images[pixels] = np.frombuffer(payload, np.uint8, count, at).reshape(pixels.size)
        at += count
    prepared = Prepared(name, images, lungs=facts["lungs"], colour=facts["in_colour"])
    return prepared, memoryview(payload)[at:]


def _outcome(prediction: Prediction) -> str:
    if prediction.error is not None:
        return "refused"
    return "abstained" if prediction.abstained else "predicted"
