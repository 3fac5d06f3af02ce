"""A model as one page: everything is inside, nothing can leave, and a browser gives torch's probabilities.

The last test needs Chromium, Playwright, and onnxruntime-web in a folder that HILUM_TEST_ORT names. Where they are
missing it says that it was skipped.
"""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from hilum.artifacts.export import Export
from hilum.data.images import Pixels
from hilum.inference.predictor import Predictor
from hilum.scale.browser import ORT_FILES
from hilum.scale.export import Request, export_model

from .test_scale_export import radiographs, saved

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("browser")
    return saved(place / "model", "vgg", Pixels(size=(32, 40), standardize="image"))


def test_the_page_is_one_file_that_can_send_nothing(model: Path, tmp_path: Path) -> None:
    ort = tmp_path / "ort" / "dist"
    ort.mkdir(parents=True)
    for name in ORT_FILES:
        (ort / name).write_text(f"/* {name} */")
    export_model(Request(str(model), "browser", tmp_path / "page", ort=ort.parent))
    assert sorted(file.name for file in (tmp_path / "page").iterdir()) == ["export.json", "index.html"]
    assert Export.load(tmp_path / "page" / "export.json").graphs["model"].outputs == [
        "probabilities",
        "predicted",
    ]
    page = (tmp_path / "page" / "index.html").read_text()
    [policy] = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert {"default-src 'none'", "connect-src 'none'", "form-action 'none'"} <= set(policy.split("; "))
    assert not re.search(r"__[A-Z]+__|https?://|<link|fetch\(|XMLHttpRequest|sendBeacon|WebSocket", page)
    assert "/* ort.wasm.min.js */" in page


def test_what_has_no_page(model: Path, tmp_path: Path, hilum: Callable) -> None:
    words = ("--to", "browser", "--out", tmp_path / "page", "--ort", tmp_path)
    missing = hilum("export", model, *words)
    assert (
        missing.code == 2
        and "holds no ort.wasm.min.js; name the folder dist of the npm package" in missing.err
    )
    lungs = hilum("export", "packaged", *words)
    assert lungs.code == 2 and "can't find the lungs that the model reads" in lungs.err


@pytest.mark.slow
def test_a_browser_gives_the_same_probabilities(model: Path, tmp_path: Path) -> None:
    """Of the page's own test image, and of a file that a user chooses."""
    ort, playwright = os.environ.get("HILUM_TEST_ORT"), "playwright.sync_api"
    if CHROMIUM is None or ort is None:
        pytest.skip("needs Chromium, and onnxruntime-web in the folder that HILUM_TEST_ORT names")
    sync_playwright = pytest.importorskip(playwright, reason="Playwright is not installed").sync_playwright
    export_model(Request(str(model), "browser", tmp_path / "page", ort=Path(ort)))
    image = tmp_path / "image.png"
    cv2.imwrite(str(image), radiographs(1)[0])
    with sync_playwright() as playing:
        browser = playing.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        addresses: list[str] = []
        page.on("request", lambda request: addresses.append(request.url))
        page.goto((tmp_path / "page" / "index.html").as_uri())
        page.wait_for_selector("body[data-state]", timeout=300_000)
        assert page.get_attribute("body", "data-state") == "ready"
        assert float(page.get_attribute("body", "data-difference") or "nan") < 1e-4
        page.set_input_files("#file", image)
        page.wait_for_selector("#answer tbody tr", timeout=60_000)
        rows = [row.split() for row in page.locator("#answer tbody tr").all_inner_texts()]
        browser.close()
    [prediction] = Predictor.load(model, "cpu").stream([image])
    assert prediction.probabilities is not None
    assert {row[0]: float(row[-1]) for row in rows} == pytest.approx(prediction.probabilities, abs=2e-3)
    assert [address for address in addresses if not address.startswith(("file:", "blob:", "data:"))] == []
