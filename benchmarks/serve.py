"""`hilum serve` under load and under faults, on loopback alone.

    python benchmarks/serve.py [--seconds 60] [--clients 32]     throughput, latencies, memory; every answer checked
    python benchmarks/serve.py --faults                          a decoding process killed ten times meanwhile
    python benchmarks/serve_fuzz.py --files 10000                mutated JPEG, PNG, TIFF, DICOM and zip files

Each client sends its own images, one after the other, and compares each answer with that of `hilum.predict`. The same
images go through `hilum.predict` before and after, and through a plain FastAPI handler that asks the model once per
request. Processor time tells more than the clock where other work shares the machine. The exit code is 1 when an
answer is wrong or missing.
"""

import argparse
import http.client
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import cv2

IMAGES = 64
ROUNDING = 3e-6
KILLS = 10

PREDICT = """
import json, sys, time
from pathlib import Path
from hilum.serving.predictor import predictor_for
files, seconds = sorted(Path(sys.argv[1]).glob("*.jpg")), float(sys.argv[2])
predictor = predictor_for(None, "cpu")
answers = [answer.model_dump(mode="json") for answer in predictor.stream(files)]
start, used, images = time.perf_counter(), time.process_time(), 0
while time.perf_counter() - start < seconds:
    images += sum(1 for _ in predictor.stream(files * 2))
processor = 1000 * (time.process_time() - used) / max(images, 1)
print(json.dumps({"rate": images / (time.perf_counter() - start), "processor": processor, "answers": answers}))
"""

PLAIN = """
import sys
import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from hilum.data.decode import decode
from hilum.serving.predictor import packaged
app, predictor = FastAPI(), packaged("cpu")

def answer(data):
    [prediction] = predictor.stream([decode(data)])
    return prediction.model_dump(mode="json")

@app.post("/v1/predict")
async def predict(request: Request):
    return await run_in_threadpool(answer, await request.body())

@app.get("/readyz")
def ready():
    return {}

uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
"""


def phantoms(folder: Path) -> list[bytes]:
    """IMAGES phantoms as JPEG files."""
    from hilum.data.phantom.generate import phantom_image
    from hilum.data.phantom.settings import LABELS, PhantomSettings

    settings = PhantomSettings(size=(512, 576), seed=23)
    for number in range(IMAGES):
        image = phantom_image(settings, LABELS[number % 3], person=number + 1, image=1).image
        (folder / f"{number:03}.jpg").write_bytes(cv2.imencode(".jpg", image)[1].tobytes())
    return [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]


class Server:
    """A service in a process of its own, and the memory of it and of its children."""

    def __init__(self, plain: bool = False) -> None:
        if plain:
            self.port = 8931
            command = [sys.executable, "-c", PLAIN, str(self.port)]
        else:
            command = [sys.executable, "-c", "from hilum.cli import main; main()", "serve", "--port", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        if not plain:
            self.port = int(re.search(r":(\d+)/", self.process.stderr.readline())[1])  # type: ignore[index]
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + 180
        while time.monotonic() < end:
            try:
                if self.request("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                time.sleep(0.2)
        raise SystemExit("the service did not become ready")

    def request(
        self, method: str, url: str, body: bytes | None = None, kind: str = "image/jpeg"
    ) -> tuple[int, bytes]:
        """Status and body of one request on a new connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, url, body, {"Content-Type": kind})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def processes(self) -> list[int]:
        """The process, its children and theirs."""
        known, new = [], [self.process.pid]
        while new:
            known += new
            new = [child for pid in new for child in children(pid)]
        return known

    def decoders(self) -> list[int]:
        """The decoding processes."""
        return [child for nursery in children(self.process.pid) for child in children(nursery)]

    def memory(self) -> int:
        """Bytes of all processes; shared pages count once (PSS)."""
        return sum(map(pss, self.processes()))

    def processor(self) -> float:
        """Seconds of processor time of all processes so far."""
        return sum(map(processor_seconds, self.processes()))

    def stop(self) -> None:
        """Ends the service."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def children(pid: int) -> list[int]:
    """Child processes, by the kernel's list."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    try:
        return [int(child) for file in lists for child in file.read_text().split()]
    except OSError:
        return []


def pss(pid: int) -> int:
    """Proportional set size in bytes; 0 for a process that has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1]) * 1024  # type: ignore[index]


def processor_seconds(pid: int) -> float:
    """User and system time of a process; 0 for one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Load:
    """Clients that send their own images for some seconds and check each answer."""

    def __init__(self, server: Server, images: list[bytes], expected: list[dict], clients: int) -> None:
        self.server, self.images, self.expected, self.clients = server, images, expected, clients
        self.seconds: list[float] = []
        self.problems: Counter[str] = Counter()
        self.peak, self.busy, self.processor, self.rate = 0, 0, 0.0, 0.0
        self._lock = threading.Lock()

    def run(self, seconds: float) -> float:
        """Images per second. `processor`: milliseconds of processor time per image."""
        start, used = time.perf_counter(), self.server.processor()
        end = start + seconds
        threads = [
            threading.Thread(target=self._client, args=(number, end)) for number in range(self.clients)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            self.peak = max(self.peak, self.server.memory())
            time.sleep(0.5)
        self.processor = 1000 * (self.server.processor() - used) / max(len(self.seconds), 1)
        return len(self.seconds) / (time.perf_counter() - start)

    def _client(self, number: int, end: float) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=120)
        at = number
        while time.perf_counter() < end:
            index = at % len(self.images)
            at += self.clients + 1
            start = time.perf_counter()
            try:
                connection.request("POST", "/v1/predict", self.images[index], {"Content-Type": "image/jpeg"})
                response = connection.getresponse()
                body, status, wait = response.read(), response.status, response.headers.get("Retry-After")
            except (OSError, http.client.HTTPException) as error:
                self._problem(type(error).__name__)
                connection.close()
                continue
            if status == 429:
                self.busy += 1
                time.sleep(float(wait or 1))
                continue
            took, wrong = time.perf_counter() - start, self._wrong(status, body, index)
            with self._lock:
                self.seconds.append(took)
            if wrong:
                self._problem(wrong)
        connection.close()

    def _problem(self, what: str) -> None:
        with self._lock:
            self.problems[what] += 1

    def _wrong(self, status: int, body: bytes, index: int) -> str:
        if status != 200:
            return f"status {status}"
        said, right = json.loads(body)["probabilities"], self.expected[index]["probabilities"]
        near = said is not None and all(abs(said[name] - right[name]) <= ROUNDING for name in right)
        return "" if near else "another answer"

    def latencies(self) -> str:
        """p50, p95 and p99 in words."""
        points = statistics.quantiles(self.seconds, n=100)
        return ", ".join(f"p{share} {1000 * points[share - 1]:.0f} ms" for share in (50, 95, 99))


def predicted(folder: Path, seconds: float) -> dict:
    """Rate and answers of `hilum.predict` in a process of its own."""
    words = [sys.executable, "-c", PREDICT, str(folder), str(seconds)]
    return json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


def load(seconds: float, clients: int) -> bool:
    """The comparison; whether all answers were right."""
    with tempfile.TemporaryDirectory() as place:
        images = phantoms(Path(place))
        part = max(5.0, seconds / 3)
        before = predicted(Path(place), part)
        loads = {}
        for name, plain, duration in (("hilum serve", False, seconds), ("plain handler", True, part)):
            server = Server(plain)
            loads[name] = run = Load(server, images, before["answers"], clients)
            rate = run.run(duration)
            server.stop()
            run.rate = rate
            print(
                f"{name:14} {rate:6.1f} images/s, {run.processor:.0f} ms of processor time an image, {run.latencies()}"
            )
            print(f"{'':14} peak memory {run.peak / 2**20:.0f} MB, {len(run.seconds)} answers, {run.busy} x 429, "
                  f"problems: {dict(run.problems) or 'none'}")  # fmt: skip
        after = predicted(Path(place), part)
    own = (before["rate"] + after["rate"]) / 2
    processor = (before["processor"] + after["processor"]) / 2
    print(f"hilum.predict  {own:6.1f} images/s (before {before['rate']:.1f}, after {after['rate']:.1f}), "
          f"{processor:.0f} ms of processor time an image")  # fmt: skip
    served, plain_load = loads["hilum serve"], loads["plain handler"]
    print(f"rate: hilum serve / hilum.predict {served.rate / own:.2f}")
    print(f"rate: hilum serve / plain handler {served.rate / plain_load.rate:.2f}")
    print(f"processor time: hilum.predict / hilum serve {processor / served.processor:.2f}, "
          f"plain handler / hilum serve {plain_load.processor / served.processor:.2f}")  # fmt: skip
    return not served.problems


def faults(seconds: float, clients: int) -> bool:
    """Kills a decoding process at random, KILLS times, under load; whether all answers were right."""
    with tempfile.TemporaryDirectory() as place:
        images = phantoms(Path(place))
        expected = predicted(Path(place), 0)["answers"]
        server, chance, killed = Server(), random.Random(0), 0
        run = Load(server, images, expected, clients)
        thread = threading.Thread(target=run.run, args=(seconds,))
        thread.start()
        while thread.is_alive() and killed < KILLS:
            time.sleep(chance.uniform(0.2, 1.8) * seconds / (KILLS + 2))
            pids = server.decoders()
            if pids:
                os.kill(chance.choice(pids), signal.SIGKILL)
                killed += 1
        thread.join()
        metrics = server.request("GET", "/metrics")[1].decode()
        server.stop()
    replaced = re.search(r"^hilum_decoders_replaced_total (\d\S*)", metrics, re.MULTILINE)
    number = float(replaced[1]) if replaced else 0
    print(
        f"{killed} processes killed, {number:.0f} replaced; {len(run.seconds)} requests, each answered once"
    )
    print(f"{run.latencies()}; {run.busy} x 429; problems: {dict(run.problems) or 'none'}")
    return not run.problems


def main() -> None:
    """Runs what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--faults", action="store_true")
    given = parser.parse_args()
    sys.exit(0 if (faults if given.faults else load)(given.seconds, given.clients) else 1)


if __name__ == "__main__":
    main()
