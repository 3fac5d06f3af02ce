"""Images that arrive together go through the networks together.

An image waits a few milliseconds for others, never longer; a batch that is full does not wait. On the CPU each core
works on a batch of its own, as in `Predictor.stream`.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, Queue

from hilum.inference.memory import memory_in_words
from hilum.inference.prediction import Prediction
from hilum.inference.predictor import Predictor
from hilum.inference.stream import Prepared
from hilum.threads import compute_alone, cores

Waiting = tuple[Prepared, Future[Prediction]]


class Batcher:
    """Threads that answer prepared images. `size`, `seconds`: of a batch, and how long its first image waits;
    `threads`: 0: one for each core on the CPU, one on a GPU; `seen`: called with the size of each batch.

    >>> from hilum.serving.predictor import packaged
    >>> batcher = Batcher(packaged("cpu"), size=8, seconds=0.01)
    >>> batcher.ask(Prepared("image 1", {}, error="image 1 is empty")).result().error
    'image 1 is empty'
    >>> batcher.stop()
    """

    def __init__(
        self,
        predictor: Predictor,
        size: int,
        seconds: float,
        threads: int = 0,
        seen: Callable[[int], None] = lambda size: None,
    ) -> None:
        self.predictor, self.size, self.seconds, self._seen = predictor, size, seconds, seen
        self._queue: Queue[Waiting | None] = Queue()
        on_cpu = predictor.classifier.runtime.device == "cpu"
        number = threads or (cores() if on_cpu else 1)
        self._threads = [
            threading.Thread(target=self._work, name=f"batching-{index}", daemon=True)
            for index in range(number)
        ]
        for thread in self._threads:
            thread.start()

    def ask(self, image: Prepared) -> Future[Prediction]:
        """The prediction to come. The caller bounds how many it asks for at a time (`hilum.web.limits.Places`).

        >>> from hilum.serving.predictor import packaged
        >>> batcher = Batcher(packaged("cpu"), size=2, seconds=0.0)
        >>> batcher.ask(Prepared("image 7", {}, error="image 7 is empty")).result().file
        'image 7'
        >>> batcher.stop()
        """
        answer: Future[Prediction] = Future()
        self._queue.put((image, answer))
        return answer

    def stop(self) -> None:
        """Answers what waits, then ends the threads.

        >>> from hilum.serving.predictor import packaged
        >>> Batcher(packaged("cpu"), size=2, seconds=0.0).stop()
        """
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(10)

    def _work(self) -> None:
        compute_alone()
        while (first := self._queue.get()) is not None:
            batch, is_last = self._batch(first)
            self._answer(batch)
            if is_last:
                return

    def _batch(self, first: Waiting) -> tuple[list[Waiting], bool]:
        """The images of a batch; whether this thread ends after it."""
        batch, end = [first], time.monotonic() + self.seconds
        while len(batch) < self.size:
            try:
                following = self._queue.get(timeout=max(0.0, end - time.monotonic()))
            except Empty:
                break
            if following is None:
                return batch, True
            batch.append(following)
        return batch, False

    def _answer(self, batch: list[Waiting]) -> None:
        self._seen(len(batch))
        try:
            with memory_in_words(f"predicting a batch of {len(batch)} images"):
                predictions = self.predictor.answered([image for image, _ in batch])
        except BaseException as error:
            for _, answer in batch:
                answer.set_exception(error)
            return
        for (_, answer), prediction in zip(batch, predictions, strict=True):
            answer.set_result(prediction)
