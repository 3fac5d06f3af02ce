"""How fast `hilum score` is: images per second and core, from one core to two, beside a plain PyTorch loop.

    python benchmarks/score.py                            # 200 JPEG files of 1500 x 2000, the packaged binary model
    python benchmarks/score.py --images 96 --rounds 1     # shorter
    python benchmarks/score.py --runtime onnx             # or openvino: the model is exported first
    python benchmarks/score.py --faults 20000             # kills workers at random while 20,000 phantoms are scored
    python benchmarks/score.py --cost                     # the constants of the cost model, and 100 million images
    python benchmarks/score.py --reduced 35               # how far a reduced decode of so many phantoms moves them

Every way reads the same full-size JPEG files. `hilum score` does all that it does for a user: intake check, lung field,
guard, embedding, Parquet. The plain loop is what is written without it: Pillow decodes and resizes in a
torch.utils.data.DataLoader, the same network predicts in batches of 32, nothing else.

Start and steady rate are told apart. The start lasts from the first process to the first rows of every worker:
imports, the model, one batch. The rate is that of the time in which all workers are busy, from the first report of the
last worker to start to the last report of the first one to finish; a worker reports every 32 images, and images
between two reports are interpolated. Processor time of all processes is given beside it, because wall time says little
on a machine with other work. With `--faults` the network is a tiny untrained one, because what counts there are rows.

Aims: two cores 1.85 x one; two cores 3 x the plain loop. A core means a worker that may use this core alone.
"""

import argparse
import os
import random
import resource
import signal
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import active_children
from pathlib import Path

import cv2
import numpy as np
import torch

from hilum.artifacts.card import Architecture
from hilum.data.images import Pixels
from hilum.data.sources.phantom import PhantomSettings, phantom_image
from hilum.models import ModelFacts, build, load_model, save_model
from hilum.scale.export import Request, export_model
from hilum.scale.score import ScoreConfig, score
from hilum.scale.score_local import LocalEngine
from hilum.scale.score_worker import Chunk, Settings
from hilum.scale.sources import Source
from hilum.serving.predictor import WEIGHTS, predictor_for

BATCH = 32
WARM = 0.25
"""Share of the images that pass in the plain loop before the clock starts."""


def write_images(folder: Path, count: int, size: tuple[int, int], ending: str) -> Path:
    """Files; few phantoms are made, each is written several times with another brightness."""
    folder.mkdir(parents=True)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 92] if ending == "jpeg" else []
    made = [phantom_image(PhantomSettings(size=size), "normal", person, 0).image for person in range(8)]
    for number in range(count):
        image = np.clip(made[number % 8].astype(np.int16) + number % 40, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number:06d}.{ending}"), image, quality)
    return folder


def cpu_seconds() -> float:
    """Processor time of this process and of all that have ended under it."""
    times = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in times)


@dataclass(frozen=True)
class Rate:
    """Seconds per image while all workers are busy, and seconds until each has given its first rows."""

    each: float
    start: float = 0.0


def scored(source: Path, settings: Settings, workers: int) -> Rate:
    """The rate of the engine of `hilum score` with so many workers on as many cores."""
    with pinned(workers):
        return _scored(source, settings, workers)


@contextmanager
def pinned(cores: int) -> Iterator[None]:
    """Only so many cores for this process and those that it starts, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _scored(source: Path, settings: Settings, workers: int) -> Rate:
    """All images as one chunk for each worker, so that every worker has as much to do."""
    refs = list(Source(str(source)).refs())
    chunks = [Chunk(number, refs[number::workers]) for number in range(workers)]
    assert min(len(chunk.refs) for chunk in chunks) >= 3 * BATCH, (
        f"give --images {3 * BATCH * workers} or more"
    )
    engine = Watched(settings, workers, len(refs), 0, lambda done, total: None)
    begin = time.perf_counter()
    assert len(list(engine.run(iter(chunks)))) == workers
    marks = [np.array(each).T for each in engine.marks.values()]  # times, images
    first, last = max(times[0] for times, _ in marks), min(times[-1] for times, _ in marks)
    images = sum(np.diff(np.interp([first, last], times, done)).item() for times, done in marks)
    return Rate((last - first) / images, first - begin)


@dataclass
class Watched(LocalEngine):
    """Notes when each worker has done how many images."""

    marks: dict[int | None, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))

    def _heard(self) -> Iterator[tuple[int, bytes]]:
        yield from super()._heard()
        for worker in self.processes.running:
            at = 0 if worker.work is None else self.at[worker.work.number]
            seen = self.marks[worker.process.pid] if at else []
            if at and (not seen or at > seen[-1][1]):
                seen.append((time.perf_counter(), at))


class Files(torch.utils.data.Dataset):
    """Radiographs as a plain loop reads them."""

    def __init__(self, folder: Path, size: tuple[int, int], mean: float, sd: float) -> None:
        self.paths, self.size, self.mean, self.sd = sorted(folder.iterdir()), size, mean, sd

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        from PIL import Image

        image = Image.open(self.paths[index]).convert("L").resize(self.size[::-1])
        return (torch.from_numpy(np.array(image, np.float32))[None] / 255 - self.mean) / self.sd


@torch.inference_mode()
def plain(source: Path, model_folder: Path, workers: int) -> Rate:
    """The rate after the warm-up of a plain loop with so many workers of its DataLoader."""
    model = load_model(model_folder).eval()
    files = Files(source, model.pixels.size, model.pixels.mean, model.pixels.sd)
    done, first, begin = 0, None, time.perf_counter()
    for batch in torch.utils.data.DataLoader(files, BATCH, num_workers=workers):
        model(batch).softmax(1).numpy()
        done += len(batch)
        if first is None and done >= WARM * len(files):
            first = time.perf_counter(), done
    assert first is not None and done > first[1], "give more --images"
    return Rate((time.perf_counter() - first[0]) / (done - first[1]), first[0] - begin)


def compare(options: argparse.Namespace, folder: Path) -> None:
    """Prints start and images per second of each way, scaling and ratio."""
    source = write_images(folder / "images", options.images, tuple(options.size), "jpeg")
    settings = settings_of(options, folder)
    ways: dict[str, Callable[[], Rate]] = {
        "hilum score, 1 core": lambda: scored(source, settings, 1),
        "hilum score, 2 cores": lambda: scored(source, settings, 2),
        "DataLoader, 0 workers": lambda: plain(source, options.model, 0),
        "DataLoader, 2 workers": lambda: plain(source, options.model, 2),
    }
    best = {name: Rate(np.inf, np.inf) for name in ways}
    cpu = dict.fromkeys(ways, np.inf)
    for _ in range(options.rounds):
        for name, way in ways.items():
            before = cpu_seconds()
            best[name] = min(best[name], way(), key=lambda rate: rate.each)
            cpu[name] = min(cpu[name], (cpu_seconds() - before) / options.images)
    print(f"{'':24}{'start, s':>10}{'images/s':>10}{'CPU ms an image, start included':>34}")
    for name, rate in best.items():
        print(f"{name:24}{rate.start:10.1f}{1 / rate.each:10.1f}{1000 * cpu[name]:34.1f}")
    single, double = (best[f"hilum score, {words}"].each for words in ("1 core", "2 cores"))
    print(f"scaling 1 -> 2 cores     {single / double:.2f} x (aim 1.85)")
    print(f"beside 0 workers         {best['DataLoader, 0 workers'].each / double:.2f} x (aim 3)")
    print(f"beside 2 workers         {best['DataLoader, 2 workers'].each / double:.2f} x")


def settings_of(options: argparse.Namespace, folder: Path) -> Settings:
    """The model that the options name, exported where another runtime than torch is to run it."""
    if options.runtime == "torch":
        return Settings(None if options.packaged else options.model, "cpu", "float16", None)
    source = "packaged" if options.packaged else str(options.model)
    export_model(Request(source, options.runtime, folder / "exported"))
    return Settings(folder / "exported", "cpu", "float16", None, options.runtime)


# -- faults --------------------------------------------------------------------------------------------------


def killing(every: float, stop: threading.Event, kills: list[int]) -> None:
    """Kills a worker at random, again and again."""
    chance = random.Random(0)
    while not stop.wait(chance.uniform(0, 2 * every)):
        workers = active_children()
        if workers and (pid := chance.choice(workers).pid):
            os.kill(pid, signal.SIGKILL)
            kills.append(pid)


def tiny_model(folder: Path) -> Path:
    """A model folder with an untrained network."""
    options = {"blocks": [[4]], "dense": [4]}
    model = build("vgg", ("normal", "pneumonia"), Pixels(size=(32, 40)), options).eval()
    save_model(model, folder, Architecture(name="vgg", options=options), ModelFacts(task="binary"))
    return folder


def faults(options: argparse.Namespace, folder: Path) -> None:
    """Scores phantoms while workers are killed; prints what was lost and what stands twice."""
    import pyarrow.parquet as pq

    source = write_images(folder / "images", options.faults, (64, 72), "png")
    stop, kills = threading.Event(), []
    killer = threading.Thread(target=killing, args=(options.every, stop, kills))
    killer.start()
    start = time.perf_counter()
    try:
        config = ScoreConfig(
            model=tiny_model(folder / "model"), workers=2, device="cpu", part_size=options.part_size
        )
        done = score(str(source), folder / "scores", config)
    finally:
        stop.set()
        killer.join()
    files = pq.read_table(folder / "scores", columns=["file", "error"])
    names = files.column("file").to_pylist()
    expected = {path.name for path in source.iterdir()}
    print(
        f"{len(expected):,} images, {len(kills)} workers killed, {time.perf_counter() - start:.0f} s:"
        f" {len(expected - set(names))} lost, {len(names) - len(set(names))} twice,"
        f" {len(names) - files.column('error').null_count} with an error, {len(done.manifest.parts)} parts"
    )


# -- a reduced decode ----------------------------------------------------------------------------------------


def reduced(options: argparse.Namespace, folder: Path) -> None:
    """Prints how far probabilities move when libjpeg decodes a half or a quarter of the size."""
    ways = {"half": cv2.IMREAD_REDUCED_GRAYSCALE_2, "quarter": cv2.IMREAD_REDUCED_GRAYSCALE_4}
    for model in (WEIGHTS / "binary", None):
        predictor = predictor_for(model, "cpu")
        moved: dict[str, list[float]] = {name: [] for name in ways}
        others: Counter[str] = Counter()
        for number in range(options.reduced):
            label = ("normal", "bacteria", "virus")[number % 3]
            image = phantom_image(PhantomSettings(size=tuple(options.size)), label, number, number % 2).image
            data = cv2.imencode(".jpeg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
            whole, *answers = predictor.stream(
                cv2.imdecode(data, way) for way in (cv2.IMREAD_GRAYSCALE, *ways.values())
            )
            for name, answer in zip(ways, answers, strict=True):
                apart = [answer.probabilities[key] - value for key, value in whole.probabilities.items()]
                moved[name].append(float(np.abs(apart).max()))
                others[name] += answer.prediction != whole.prediction
        for name, values in moved.items():
            print(
                f"{model.name if model else 'packaged'}, {name}: largest {max(values):.4f}, mean {np.mean(values):.4f},"
                f" above 0.01 {sum(value > 0.01 for value in values)}, another prediction {others[name]}"
            )


# -- cost ----------------------------------------------------------------------------------------------------


def milliseconds(call: Callable[[], object], times: int = 12) -> float:
    """Processor time of the fastest of several calls."""

    def each() -> Iterator[float]:
        for _ in range(times):
            start = time.process_time()
            call()
            yield 1000 * (time.process_time() - start)

    return min(each())


def cost(options: argparse.Namespace, folder: Path) -> None:
    """Prints the constants of the cost model, and what 100 million images cost."""
    from hilum.data.decode import read_grey
    from hilum.inference.stream import prepare
    from hilum.scale.score_worker import Scorer
    from hilum.workers import alone

    alone()
    source = write_images(folder / "images", BATCH, tuple(options.size), "jpeg")
    path = source / "000000.jpeg"
    scorer = Scorer(settings_of(options, folder))
    predictor = scorer.predictor
    wanted, megapixels = predictor.wanted(), options.size[0] * options.size[1] / 1e6
    prepared = [prepare(each, wanted) for each in sorted(source.iterdir())]
    decode, whole = milliseconds(lambda: read_grey(path)), milliseconds(lambda: prepare(path, wanted))
    network = milliseconds(lambda: predictor._answered(prepared, "embedding")) / BATCH
    chance = np.random.default_rng(0)  # the vectors of different images, which do not compress
    pairs = [
        (prediction, chance.normal(size=np.shape(vector)).astype(np.float32))
        for prediction, vector in predictor.embedded([path] * BATCH)
    ]
    table = milliseconds(lambda: scorer.columns.chunk(pairs)) / BATCH
    out = len(scorer.columns.parquet(scorer.columns.table([scorer.columns.chunk(pairs)]), {})) / BATCH
    size = path.stat().st_size
    print(f"one image: {megapixels:.1f} megapixels, {size / 1e6:.2f} MB of JPEG")
    for name, value in (
        ("decode", decode),
        ("prepare (checks, lung field, resize)", whole - decode),
        ("network, guard, intake, decision", network),
        ("rows and Parquet", table),
    ):
        print(f"{name:40}{value:8.2f} ms of one core")
    model = load_model(options.model).eval()
    files = Files(source, model.pixels.size, 0.5, 0.25)
    batch = torch.from_numpy(model.pixels.normalize(np.zeros((BATCH, 1, *files.size), np.uint8)))
    with torch.inference_mode():
        bare = milliseconds(lambda: model(batch)) / BATCH
    pillow = milliseconds(lambda: files[0])
    print(
        f"{'plain loop: Pillow, network alone':40}{pillow + bare:8.2f} ms of one core ({pillow:.2f} + {bare:.2f})"
    )
    chunk = Chunk(0, list(Source(str(source)).refs()) * 2)
    every = milliseconds(lambda: scorer.score(chunk, lambda done: None), 3) / len(chunk.refs)
    print(f"{'all of it in a worker, threads included':40}{every:8.2f} ms of one core")
    each, n = whole + network + table, 100e6
    print(f"{'together':40}{each:8.2f} ms of one core, {1000 / each:.1f} images/s a core")
    print(
        f"100 million images: {n * each / 3.6e6:,.0f} core hours; on 64 cores {n * each / 3.6e6 / 64:.1f} hours"
    )
    print(
        f"they are {n * size / 1e12:.1f} TB to read ({n * size * 8 / 1e9 / 3600 / 10:.1f} hours at 10 Gbit/s)"
    )
    print(f"their table has at most {n * out / 1e9:.0f} GB ({out:.0f} bytes a row)")


def main() -> None:
    """Compares, or kills, or counts."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--size", type=int, nargs=2, default=(1500, 2000), metavar=("ROWS", "COLUMNS"))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", type=Path, default=WEIGHTS / "binary")
    parser.add_argument("--runtime", default="torch", choices=["torch", "onnx", "openvino"])
    parser.add_argument("--packaged", action="store_true", help="the models of the package together")
    parser.add_argument("--faults", type=int, default=0, metavar="N", help="kill workers during N phantoms")
    parser.add_argument("--every", type=float, default=20.0, help="seconds between two kills, in the mean")
    parser.add_argument("--part-size", type=int, default=1000)
    parser.add_argument("--reduced", type=int, default=0, metavar="N", help="decode N phantoms reduced")
    parser.add_argument("--cost", action="store_true", help="measure the constants of the cost model")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = faults if options.faults else reduced if options.reduced else cost if options.cost else compare
        work(options, Path(folder))


if __name__ == "__main__":
    main()
