"""A model as a single HTML file: the graph from raw pixels, run by onnxruntime-web in the browser. Nothing is uploaded.

onnxruntime-web (MIT) is not part of hilum: its files come from a folder, or from the npm registry by `npm pack`.
"""

import json
import subprocess
import tarfile
from base64 import b64encode
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from hilum import __version__
from hilum.artifacts.card import ModelCard
from hilum.data.images import Pixels
from hilum.errors import ModelError
from hilum.files import cache_folder, write_text
from hilum.inference.runtimes.graph import open_graph
from hilum.models import golden_images

ORT_VERSION = "1.30.0"
ORT_FILES = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""The program, what it loads the engine with, and the engine."""

TEST_SIZE = (96, 120)


def ort_folder(given: Path | None) -> Path:
    """The folder with ORT_FILES: `given` or its dist/, else what npm fetches, once, into the cache. ModelError where
    they are not to be had.

    >>> ort_folder(Path("gone"))
    Traceback (most recent call last):
    hilum.errors.ModelError: gone holds no ort.wasm.min.js; name the folder dist of the npm package onnxruntime-web ...
    """
    if given is not None:
        for folder in (given, given / "dist"):
            if all((folder / name).exists() for name in ORT_FILES):
                return folder
        missing = next(name for name in ORT_FILES if not (given / name).exists())
        raise ModelError(
            f"{given} holds no {missing}",
            f"name the folder dist of the npm package onnxruntime-web {ORT_VERSION}",
        )
    folder = cache_folder() / f"onnxruntime-web-{ORT_VERSION}"
    if not all((folder / name).exists() for name in ORT_FILES):
        _fetch(folder)
    return folder


def _fetch(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as place:
        try:
            words = ["npm", "pack", f"onnxruntime-web@{ORT_VERSION}"]
            subprocess.run(words, cwd=place, check=True, capture_output=True, timeout=300)
            [archive] = Path(place).glob("*.tgz")
        except (OSError, subprocess.SubprocessError, ValueError):
            raise ModelError(
                f"onnxruntime-web {ORT_VERSION} can't be fetched with npm",
                "install npm, or give the package's folder with --ort",
            ) from None
        with tarfile.open(archive) as packed:
            for name in ORT_FILES:
                member = packed.extractfile(f"package/dist/{name}")
                assert member is not None  # the version is pinned, and has these files
                (folder / name).write_bytes(member.read())


def write_page(whole: Path, card: ModelCard, ort: Path, file: Path) -> None:
    """The page. `whole`: the .onnx file from raw pixels; `ort`: the folder of ORT_FILES. The page holds a test image
    with the probabilities that it must get, and refuses to work in a browser that gives others.

    >>> write_page(Path("gone.onnx"), ModelCard.model_construct(), Path("ort"), Path("index.html"))
    Traceback (most recent call last):
    hilum.errors.ModelError: gone.onnx is missing; export the model again
    """
    image = golden_images(Pixels(size=TEST_SIZE))[0]
    probabilities = np.asarray(open_graph("onnx", whole)(image)["probabilities"], float)
    test = {
        "image": b64encode(image.tobytes()).decode(),
        "rows": TEST_SIZE[0],
        "cols": TEST_SIZE[1],
        "probabilities": probabilities.tolist(),
    }
    facts = json.dumps({"classes": card.classes, "test": test}).replace("<", "\\u003c")
    program, glue, engine = ((ort / name).read_bytes() for name in ORT_FILES)
    parts = {
        "CLASSES": escape(", ".join(card.classes)),
        "DIGEST": card.weights_digest,
        "VERSION": __version__,
        "FACTS": facts,
        "ORT": program.decode().replace("</script", "<\\/script"),
        "GLUE": b64encode(glue).decode(),
        "WASM": b64encode(engine).decode(),
        "MODEL": b64encode(whole.read_bytes()).decode(),
    }
    page = Path(__file__).with_name("browser.html").read_text(encoding="utf-8")
    for name, text in parts.items():
        page = page.replace(f"__{name}__", text, 1)
    write_text(file, page)
