"""How large `pip install 'hilum[runtime]'` is, and how long `hilum predict --runtime onnx` takes to its first answer.

    python benchmarks/slim.py                      # makes an environment of its own in a temporary folder
    python benchmarks/slim.py --extra openvino     # OpenVINO instead of ONNX Runtime

Installs hilum from this checkout with the versions of constraints.txt, exports the models of the package with the
present Python, and predicts one phantom image in the new environment: whole processes, after one warm-up; the median.
The environment's own pip and setuptools are not counted. On a busy machine the processor time tells more.

Aims: below 400 MB, below 1.5 s.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import tempfile
import time
import venv
from pathlib import Path

import cv2

from hilum.data.sources.phantom import PhantomSettings, phantom_image
from hilum.scale.export import Request, export_model

ROOT = Path(__file__).parents[1]
NOT_COUNTED = ("pip", "setuptools", "_distutils_hack", "pkg_resources")


def installed(folder: Path, extra: str) -> Path:
    """The Python of a new environment with hilum in it."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    wanted = {"onnx": ".[runtime]", "openvino": ".[runtime-openvino]"}[extra]
    words = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", "constraints.txt", wanted]
    subprocess.run([python, *words], cwd=ROOT, check=True)
    return python


def megabytes(folder: Path) -> dict[str, float]:
    """Of each package in an environment, largest first."""
    [packages] = folder.glob("lib/python*/site-packages")
    sizes = {
        each.name: sum(file.lstat().st_size for file in [each, *each.rglob("*")] if file.is_file()) / 1e6
        for each in packages.iterdir()
        if not each.name.startswith(NOT_COUNTED)
    }
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def seconds(words: list[str | Path]) -> tuple[float, float, str]:
    """Wall and processor time of a process, and what it prints."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(words, check=True, capture_output=True, text=True, env=surroundings)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, ran.stdout


def main() -> None:
    """Prints sizes, times and the answer."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--extra", choices=["onnx", "openvino"], default="onnx")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        start = time.perf_counter()
        export_model(Request("packaged", options.extra, folder / "exported", force=True))
        print(f"export of the packaged models  {time.perf_counter() - start:.1f} s")
        python = installed(folder / "env", options.extra)
        sizes = megabytes(folder / "env")
        print(f"installed                      {sum(sizes.values()):.0f} MB")
        print("  " + ", ".join(f"{name} {size:.0f}" for name, size in list(sizes.items())[:8]))
        image = folder / "image.png"
        cv2.imwrite(str(image), phantom_image(PhantomSettings(size=(1000, 1200)), "normal", 0, 0).image)
        words = [folder / "env/bin/hilum", "predict", image, "--format", "json"]
        words += ["--model", folder / "exported", "--runtime", options.extra]
        rounds = [seconds(words) for _ in range(options.rounds + 1)][1:]
        print(f"first answer                   {statistics.median(wall for wall, _, _ in rounds):.2f} s")
        print(f"  of which processor time      {statistics.median(cpu for _, cpu, _ in rounds):.2f} s")
        print(f"  probabilities                {json.loads(rounds[0][2])[0]['probabilities']}")
        missing = subprocess.run([python, "-c", "import torch"], check=False, capture_output=True)
        print(f"torch is {'not ' if missing.returncode else ''}installed there")


if __name__ == "__main__":
    main()
