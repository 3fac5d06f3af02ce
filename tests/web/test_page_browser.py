"""The page in Debian's Chromium: uploads, viewer, worklist, exports, keyboard, small screens, both modes, axe-core.

One service and one browser for the module; phantoms only. Where Chromium or Playwright is absent the module is skipped.
"""

import csv
import io
import json
import re
import shutil
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from hilum.run import Run
from tests.dicom_files import PLANTED
from tests.web.uploads import dicom

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
if not Path(CHROMIUM).exists():
    pytest.skip("no Chromium: apt-get install chromium", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install 'hilum[dev]'")
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="no axe-core: pip install 'hilum[dev]'"
)

from playwright.sync_api import Browser, Page, Route, expect  # noqa: E402

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

expect.set_options(timeout=60_000)  # a busy machine is no failure; a test that passes does not wait

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def run(small_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A copy of the small study, because what is kept lies beside it."""
    place = tmp_path_factory.mktemp("served") / "small"
    shutil.copytree(small_run.path, place)
    return Run(place)


@pytest.fixture(scope="module")
def address(run: Run) -> Iterator[str]:
    """A service with --keep and --demo on a free port of this machine."""
    uvicorn = pytest.importorskip("uvicorn", reason="no uvicorn: pip install 'hilum[serve]'")
    from hilum.web.app import create_app
    from hilum.web.settings import Settings

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        settings = Settings(runs=(run.path,), port=port, keep=True, demo=True, device="cpu", workers=1)
        server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="error", lifespan="on"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield chromium
        chromium.close()


Open = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser, address: str) -> Iterator[Open]:
    """opened("/studies", width=360) -> a page of a fresh profile. At the end no request has left this machine, and no
    script has failed."""
    contexts, requests, errors = [], [], []

    def new_page(path: str = "/", width: int = 1400, height: int = 900, scheme: str = "dark") -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on(
            "filechooser", lambda chooser: None
        )  # from the start: asked for later, the first may be missed
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if "Content Security" in line.text else None)
        page.goto(address + path)
        if path.split("?")[0] == "/":
            page.wait_for_selector("html[data-ready=true]")
        return page

    yield new_page
    for context in contexts:
        context.close()
    foreign = [url for url in requests if not url.startswith((address + "/", "data:", "blob:"))]
    assert requests and foreign == [] and errors == []


@pytest.fixture(scope="module")
def images(phantom_data: Path) -> list[Path]:
    """Fifty phantoms."""
    paths = sorted(phantom_data.rglob("*.png"))
    paths = [path for path in paths if "masks" not in path.parts][:50]
    assert len(paths) == 50
    return paths


def give(page: Page, paths: list[Path]) -> None:
    """Chooses files, and waits until all are read."""
    already = page.locator("#rows tr").count()
    page.set_input_files("#files", [str(path) for path in paths])
    total = already + len(paths)
    expect(page.locator("#rows tr")).to_have_count(total)
    word = "image" if total == 1 else "images"
    expect(page.locator("#status")).to_have_text(re.compile(rf"^{total} {word}: "))


def drop(page: Page, files: dict[str, bytes]) -> None:
    """Drops files on the page, as a file manager does."""
    page.evaluate(
        """(files) => {
            const transfer = new DataTransfer();
            for (const [name, bytes] of Object.entries(files))
                transfer.items.add(new File([new Uint8Array(bytes)], name));
            const facts = { dataTransfer: transfer, bubbles: true, cancelable: true }, target = document.body;
            for (const kind of ["dragenter", "dragover", "drop"]) target.dispatchEvent(new DragEvent(kind, facts));
        }""",
        {name: list(content) for name, content in files.items()},
    )


def shown(page: Page) -> np.ndarray:
    """The pixels of the viewer, float "rows cols", the mean of red, green and blue, and its colourfulness behind."""
    values = page.evaluate(
        """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
            const canvas = document.getElementById("viewer");
            const small = new OffscreenCanvas(96, 96), pen = small.getContext("2d");
            pen.drawImage(canvas, 0, 0, 96, 96);
            done([...pen.getImageData(0, 0, 96, 96).data]);
        })))"""
    )
    return np.array(values, float).reshape(96, 96, 4)[..., :3]


def colourfulness(page: Page) -> float:
    """Mean difference between the largest and the smallest channel; 0 for a grey picture."""
    pixels = shown(page)
    return float((pixels.max(2) - pixels.min(2)).mean())


def check_axe(page: Page, state: str) -> None:
    """axe-core finds nothing."""
    report = axe.Axe().run(page, options={"runOnly": RULES, "resultTypes": ["violations"]})
    violations = report.response["violations"]
    assert [(state, each["id"], [node["target"] for node in each["nodes"]]) for each in violations] == []


def wait_for_picture(page: Page) -> None:
    expect(page.locator("#image-size")).to_contain_text("pixels")


# -- images come in ---------------------------------------------------------------------------------------------


def test_chosen_images_are_answered(opened: Open, images: list[Path]) -> None:
    page = opened()
    expect(page.get_by_role("heading", name="Drop chest radiographs here")).to_be_visible()
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose images").click()
    chooser.value.set_files([str(path) for path in images[:2]])
    expect(page.locator("#status")).to_have_text(re.compile("^2 images: "))
    expect(page.locator("#image-name")).to_have_text(images[0].name)
    wait_for_picture(page)
    assert shown(page).std() > 10
    expect(page.locator("#answer")).to_contain_text("operating point of")
    expect(page.locator("#answer")).to_contain_text("Probability of each class")
    expect(page.locator(".purpose")).to_have_text("Research use only. Not a medical device.")
    expect(page.locator(".purpose")).to_be_in_viewport()


def test_the_page_states_what_the_service_answers(opened: Open, images: list[Path], address: str) -> None:
    page = opened()
    with page.expect_response("**/v1/predict*") as response:
        give(page, images[:1])
    answer = response.value.json()
    assert answer["file"] == "image 1"
    listed = page.locator("#answer .probability").all_inner_texts()
    share = f"{100 * answer['abnormal']['probability']:.1f} %"
    assert listed and (share in listed[0] or "99.9 %" in listed[0] or "0.1 %" in listed[0])
    assert len(listed) == 1 + len(answer["probabilities"])


def test_dropped_images_are_answered_and_a_zip_is_opened(opened: Open, images: list[Path]) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(images[1], "inside/one.png")
        archive.write(images[2], "inside/two.png", zipfile.ZIP_STORED)
        archive.writestr("inside/notes.txt", "no image")
        archive.writestr("__MACOSX/inside/._one.png", "no image")
    page = opened()
    drop(page, {images[0].name: images[0].read_bytes(), "many.zip": packed.getvalue()})
    expect(page.locator("#status")).to_have_text(re.compile("^3 images: "))
    assert page.locator(".row-name").all_inner_texts() == [images[0].name, "one.png", "two.png"]
    expect(page.locator("#alert")).to_have_text("1 file left out: no image by the suffix (.txt).")


def test_a_dicom_file_is_shown_without_the_names_in_it(opened: Open, tmp_path: Path) -> None:
    file = tmp_path / "IM0001"
    file.write_bytes(dicom(**PLANTED))
    page = opened()
    page.on("request", lambda request: sent.append((request.post_data_buffer or b"")[:300]))
    sent: list[bytes] = []
    give(page, [file])
    expect(page.locator("#image-size")).to_have_text("256 × 256 pixels")
    assert shown(page).std() > 10
    text = page.content()
    assert [value for value in PLANTED.values() if str(value) in text] == []
    assert sent and [head for head in sent if b"IM0001" in head] == [], "a file name stays in the browser"


def test_a_folder_is_sifted(opened: Open, images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    shutil.copy(images[0], tmp_path / "inner" / "a.png")
    (tmp_path / "labels.csv").write_text("a,b\n")
    (tmp_path / ".hidden.png").write_bytes(b"")
    page = opened()
    page.set_input_files("#folder", str(tmp_path))
    expect(page.locator("#status")).to_have_text(re.compile("^1 image: "))
    expect(page.locator("#alert")).to_contain_text("1 file left out")


def test_a_file_that_is_no_image_gets_a_sentence_and_the_others_are_read(
    opened: Open, images: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / "notes.png"
    bad.write_text("no image at all")
    page = opened()
    give(page, [bad, images[0]])
    expect(page.locator("#rows tr").nth(0)).to_contain_text("unreadable")
    expect(page.locator("#answer .verdict.bad")).to_contain_text("Image 1")
    expect(page.locator("#viewer-note")).to_contain_text("No picture:")
    page.locator("#rows tr").nth(1).click()
    wait_for_picture(page)
    expect(page.locator("#answer")).to_contain_text("operating point")


def test_a_zip_that_is_none_is_named(opened: Open) -> None:
    page = opened()
    drop(page, {"broken.zip": b"PK nothing"})
    expect(page.locator("#alert")).to_have_text("broken.zip was not read: it is no zip file.")


def test_a_refused_request_is_sent_again(opened: Open, images: list[Path]) -> None:
    page = opened()
    refused: list[str] = []

    def refuse_once(route: Route) -> None:
        if refused:
            route.continue_()
            return
        refused.append(route.request.url)
        route.fulfill(status=429, headers={"Retry-After": "0.2"}, json={"error": "all places are taken"})

    page.route("**/v1/predict*", refuse_once)
    give(page, images[:1])
    assert len(refused) == 1
    expect(page.locator("#answer")).to_contain_text("operating point")


def test_images_that_were_not_sent_can_be_read_later(opened: Open, images: list[Path]) -> None:
    page = opened()
    page.route("**/v1/predict*", lambda route: None)
    page.set_input_files("#files", [str(path) for path in images[:4]])
    expect(page.locator("#progress-words")).to_contain_text("0 of 4 images read.")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#summary")).to_have_text("4 images: 4 not read.")
    page.unroute("**/v1/predict*")
    page.get_by_role("button", name="Read the rest").click()
    expect(page.locator("#summary")).to_have_text(re.compile("^4 images: (?!.*not read)"))
    expect(page.get_by_role("button", name="Read the rest")).to_be_hidden()


def test_a_file_that_the_service_refuses_is_in_the_exports(opened: Open, images: list[Path]) -> None:
    page = opened()
    page.route(
        "**/v1/predict*",
        lambda route: route.fulfill(status=413, json={"error": "the upload is too large; send less"}),
    )
    give(page, images[:1])
    expect(page.locator("#answer .verdict.bad")).to_contain_text("The upload is too large; send less.")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    [row] = csv.DictReader(io.StringIO(Path(download.value.path()).read_text()))
    assert (row["file"], row["error"]) == ("image 1", "the upload is too large; send less")


# -- the viewer -------------------------------------------------------------------------------------------------


def test_window_and_level_by_dragging_and_by_slider(opened: Open, images: list[Path]) -> None:
    page = opened()
    give(page, images[:1])
    wait_for_picture(page)
    before = shown(page)
    box = page.locator("#viewer").bounding_box()
    assert box is not None
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0], middle[1] + 120, steps=4)
    page.mouse.up()
    assert shown(page).mean() < before.mean() - 10, "a higher level darkens"
    expect(page.locator("#view-words")).not_to_contain_text("level 128")
    page.get_by_role("button", name="Reset").click()
    assert np.array_equal(shown(page), before)
    page.get_by_label("Contrast").fill("450")
    assert shown(page).std() > before.std() + 5, "a narrow window has more contrast"


def test_size_moving_and_inversion(opened: Open, images: list[Path]) -> None:
    page = opened()
    give(page, images[:1])
    wait_for_picture(page)
    before = shown(page)
    page.get_by_role("button", name="Larger").click()
    expect(page.locator("#view-words")).to_contain_text("Size 125 %")
    page.locator("#viewer").hover()
    page.mouse.wheel(0, -400)
    expect(page.locator("#view-words")).not_to_contain_text("Size 125 %")
    large = shown(page)
    page.locator(".switch label", has_text="Move").click()
    page.locator("#viewer").drag_to(
        page.locator("#viewer"), source_position={"x": 200, "y": 200}, target_position={"x": 260, "y": 230}
    )
    assert not np.array_equal(shown(page), large)
    expect(page.locator("#view-words")).to_contain_text("level 128, width 255")
    page.get_by_role("button", name="Whole image").click()
    assert np.array_equal(shown(page), before)
    page.get_by_role("button", name="Invert the greys").click()
    inside = before.std(2).max() == 0 and before[30:60, 40:60].mean()
    assert shown(page)[30:60, 40:60].mean() == pytest.approx(255 - inside, abs=2)


def test_two_fingers_change_the_size(opened: Open, images: list[Path]) -> None:
    page = opened()
    give(page, images[:1])
    wait_for_picture(page)
    page.evaluate(
        """() => {
            const canvas = document.getElementById("viewer"), box = canvas.getBoundingClientRect();
            canvas.setPointerCapture = () => undefined;
            const touch = (kind, pointerId, x) => canvas.dispatchEvent(new PointerEvent(kind, {
                pointerId, pointerType: "touch", clientX: box.left + x, clientY: box.top + 150, bubbles: true }));
            touch("pointerdown", 11, 150);
            touch("pointerdown", 12, 200);
            touch("pointermove", 12, 250);
            touch("pointerup", 11, 150);
            touch("pointerup", 12, 250);
        }"""
    )
    expect(page.locator("#view-words")).to_contain_text("Size 200 %")


def test_the_overlay_follows_its_slider_method_and_class(opened: Open, images: list[Path]) -> None:
    page = opened()
    give(page, images[:1])
    wait_for_picture(page)
    assert colourfulness(page) == 0
    page.get_by_label("Method").select_option("layer_cam")
    page.get_by_label("Evidence for").select_option("pneumonia")
    page.get_by_label("Opacity").fill("90")
    page.locator("#map-on").check()
    expect(page.locator("#map-line")).to_contain_text("for pneumonia.")
    expect(page.locator("#map-line")).to_contain_text("deletion, lower is better")
    expect(page.locator("#map-high")).not_to_have_text("")
    strong = colourfulness(page)
    page.get_by_label("Opacity").fill("30")
    assert 0 < colourfulness(page) < strong
    page.get_by_label("Method").select_option("occlusion")
    expect(page.locator("#map-line")).to_contain_text("Occlusion")
    expect(page.locator("#map-line")).to_contain_text("for pneumonia.")
    page.locator("#map-on").uncheck()
    assert colourfulness(page) == 0


def test_a_large_image_is_shown_reduced(opened: Open, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    ramp = np.linspace(0, 255, 4000).astype(np.uint8)
    cv2.imwrite(str(large), np.broadcast_to(ramp, (4000, 4000)))
    page = opened()
    give(page, [large])
    expect(page.locator("#image-size")).to_have_text("4000 × 4000 pixels, shown at 2048 × 2048")
    assert shown(page).std() > 10
    page.locator("#viewer").press("i")
    expect(page.locator("#view-words")).to_contain_text("inverted")


# -- the worklist -----------------------------------------------------------------------------------------------


def test_fifty_images_are_sorted_filtered_and_exported(opened: Open, images: list[Path]) -> None:
    page = opened("/?model=small/multiclass")
    give(page, images)
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON").click()
    answers = json.loads(Path(download.value.path()).read_text())
    assert [answer["file"] for answer in answers] == [f"image {number}" for number in range(1, 51)]

    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text())))
    assert [row["file"] for row in rows] == [answer["file"] for answer in answers]
    assert [float(row["probability_virus"]) for row in rows] == [
        answer["probabilities"]["virus"] for answer in answers
    ]
    assert images[0].name not in json.dumps(answers) + json.dumps(rows)

    most = [max(answer["probabilities"].values()) for answer in answers]
    page.get_by_role("button", name="Confidence").click()
    expect(page.locator("th[data-key=confidence]")).to_have_attribute("aria-sort", "descending")
    numbers = [int(text) for text in page.locator("#rows .cell-number").all_inner_texts()]
    assert [most[number - 1] for number in numbers] == sorted(most, reverse=True)
    page.get_by_role("button", name="No.").click()
    expect(page.locator("#rows .cell-number").first).to_have_text("1")

    bound = 5 * int(20 * sorted(most)[25]) + 5
    page.get_by_role("slider", name="Confidence at least").fill(str(bound))
    expect(page.locator("#rows tr")).to_have_count(sum(share >= bound / 100 for share in most))
    page.get_by_role("slider", name="Confidence at least").fill("0")
    page.get_by_label("Flag").select_option("abstained")
    expect(page.locator("#rows tr")).to_have_count(sum(answer["abstained"] for answer in answers))
    page.get_by_label("Flag").select_option("none")
    expect(page.locator("#rows tr")).to_have_count(
        sum(not answer["abstained"] and not answer["ood"]["flagged"] for answer in answers)
    )


def test_the_pdf_has_a_page_per_listed_image(opened: Open, images: list[Path]) -> None:
    page = opened()
    give(page, images[:3])
    with page.expect_download(timeout=60_000) as download:
        page.get_by_role("button", name="PDF").click()
    assert download.value.suggested_filename == "hilum-sheets.pdf"
    assert len(re.findall(rb"/Type /Page\b", Path(download.value.path()).read_bytes())) == 3


def test_another_model_reads_the_images_again(opened: Open, images: list[Path]) -> None:
    page = opened("/?model=small/multiclass")
    give(page, images[:2])
    expect(page.locator("#answer")).to_contain_text("Virus")
    page.get_by_label("Model").select_option("small/binary")
    expect(page.locator("#answer")).to_contain_text("Pneumonia")
    expect(page.locator("#answer")).not_to_contain_text("Virus")


def test_clearing_the_list_brings_the_first_page_back(opened: Open, images: list[Path]) -> None:
    page = opened()
    give(page, images[:1])
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_role("button", name="Choose images")).to_be_focused()
    expect(page.locator(".room")).to_be_hidden()


# -- similar images, disagreement, studies ------------------------------------------------------------------------


def test_similar_images_stand_with_labels_distances_and_the_map(opened: Open, images: list[Path]) -> None:
    page = opened("/?model=small/multiclass")
    give(page, images[:1])
    near = page.locator(".neighbors li")
    expect(near).to_have_count(7)
    distances = [
        float(text) for text in re.findall(r"distance ([\d.e-]+)", page.locator(".neighbors").inner_text())
    ]
    assert len(distances) == 7 and distances == sorted(distances)
    expect(
        page.get_by_role("img", name=re.compile("^Embedding map of .* with the place of this image"))
    ).to_be_visible()


def test_a_disagreement_becomes_a_correction(opened: Open, images: list[Path], address: str) -> None:
    page = opened("/?model=small/multiclass")
    give(page, images[:1])
    page.locator("#disagree").get_by_role("button", name="Poor quality").click()
    expect(page.locator("#disagree").get_by_role("button", name="Poor quality")).to_have_attribute(
        "aria-pressed", "true"
    )
    corrections = page.request.get(f"{address}/v1/kept/corrections.csv").text()
    assert "poor quality" in corrections
    before = len(page.request.get(f"{address}/v1/kept").json())
    page.get_by_role("button", name="Delete this image at the service").click()
    expect(page.locator(".room")).to_be_hidden()
    assert len(page.request.get(f"{address}/v1/kept").json()) == before - 1


def test_kept_images_are_listed_and_deleted(opened: Open, images: list[Path], address: str) -> None:
    page = opened()
    give(page, images[:2])
    page.get_by_role("link", name="Kept").click()
    page.wait_for_selector("html[data-ready=true]")
    kept = page.request.get(f"{address}/v1/kept").json()
    assert len(kept) >= 2
    expect(page.locator("#rows tr")).to_have_count(len(kept))
    expect(page.locator("#status")).to_have_text(f"{len(kept)} images kept.")
    check_axe(page, "kept")
    page.locator("#rows button").first.click()
    expect(page.locator("#rows tr")).to_have_count(len(kept) - 1)
    assert kept[0]["id"] not in [item["id"] for item in page.request.get(f"{address}/v1/kept").json()]
    page.get_by_role("button", name="Delete all").click()
    page.get_by_role("button", name="Keep them").click()
    expect(page.locator("#rows tr")).to_have_count(len(kept) - 1)
    page.get_by_role("button", name="Delete all").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete all").click()
    expect(page.locator("#status")).to_have_text("No image is kept.")
    assert page.request.get(f"{address}/v1/kept").json() == []


def test_the_study_browser_leads_to_report_and_models(opened: Open, address: str) -> None:
    page = opened("/studies")
    expect(page.get_by_role("heading", name="small")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(2)
    response = page.request.get(f"{address}/studies/small/report/")
    assert response.headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert response.text().startswith("<!doctype html>")
    for path in (
        "/studies/gone/report/",
        "/studies/..%2Fsmall/report/",
        "/studies/small/report/..%2F..%2Frun.json",
    ):
        assert page.request.get(address + path).status == 404, path
    page.get_by_role("link", name="Read images with small, Bacterial vs viral").click()
    page.wait_for_selector("html[data-ready=true]")
    assert page.locator("#model").input_value() == "small/multiclass"


# -- for everybody --------------------------------------------------------------------------------------------------


def test_everything_can_be_reached_by_keyboard(opened: Open, images: list[Path]) -> None:
    page = opened()

    def tab_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.locator(selector).evaluate("(element) => element === document.activeElement"):
                return
        pytest.fail(f"{selector} can't be reached")

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    tab_to("#choose-files")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files([str(path) for path in images[:3]])
    expect(page.locator("#status")).to_have_text(re.compile("^3 images: "))
    tab_to("tr:nth-child(1) .row-open")
    page.keyboard.press("ArrowDown")
    expect(page.locator("tr:nth-child(2) .row-open")).to_be_focused()
    expect(page.locator("#image-name")).to_have_text(images[1].name)
    page.keyboard.press("Delete")
    expect(page.locator("#rows tr")).to_have_count(2)
    expect(page.locator("tr:nth-child(2) .row-open")).to_be_focused()
    expect(page.locator("#image-name")).to_have_text(images[2].name)
    tab_to("#viewer")
    wait_for_picture(page)
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("i")
    page.keyboard.press("]")
    expect(page.locator("#view-words")).to_have_text("Size 125 %, level 136, width 255, inverted")
    page.keyboard.press("0")
    expect(page.locator("#view-words")).to_have_text("Size 100 %, level 128, width 255")
    tab_to("#map-on")
    page.keyboard.press("Space")
    expect(page.locator("#map-line")).to_contain_text("deletion")
    tab_to("#disagree button:nth-child(1)")


@pytest.mark.parametrize("width", [360, 800])
def test_small_screens_need_no_horizontal_scrolling(opened: Open, images: list[Path], width: int) -> None:
    page = opened("/?model=small/multiclass", width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    give(page, images[:3])
    expect(page.locator(".neighbors li")).to_have_count(7)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, select, input:not([hidden]), a[href], summary")]
            .filter((each) => each.checkVisibility() && !each.matches("[hidden], .skip"))
            .map((each) => [each.id || each.textContent.trim(), each.closest("label") ?? each])
            .map(([name, each]) => [name, each.getBoundingClientRect()])
            .filter(([, box]) => Math.min(box.width, box.height) < 24)
            .map(([name, box]) => `${name} ${box.width} x ${box.height}`)"""
    )
    assert small == []
    expect(page.locator(".purpose")).to_be_in_viewport()
    page.locator("#rows tr").nth(2).click()
    expect(page.locator("#image-name")).to_be_in_viewport()


def ground(page: Page) -> int:
    """The brightness of the page's ground, 0 to 255."""
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return max(int(value) for value in re.findall(r"\d+", colour)[:3])


def test_dark_unless_the_reader_or_the_system_wants_light(opened: Open) -> None:
    page = opened()
    assert ground(page) < 40
    page.get_by_role("button", name="Light mode").click()
    assert ground(page) > 220
    page.reload()
    assert ground(page) > 220
    assert ground(opened(scheme="light")) > 220


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_axe_finds_nothing(opened: Open, images: list[Path], tmp_path: Path, scheme: str) -> None:
    def check(page: Page, state: str) -> None:
        report = axe.Axe().run(page, options={"runOnly": RULES, "resultTypes": ["violations"]})
        assert [
            (state, each["id"], [node["target"] for node in each["nodes"]])
            for each in report.response["violations"]
        ] == []

    page = opened("/?model=small/multiclass", scheme=scheme)
    check_axe(page, "empty")
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    give(page, [images[0], bad])
    expect(page.locator(".neighbors li")).to_have_count(7)
    page.locator("#map-on").check()
    expect(page.locator("#map-line")).to_contain_text("deletion")
    check_axe(page, "an image")
    page.locator("#rows tr").nth(1).click()
    expect(page.locator("#answer .verdict.bad")).to_be_visible()
    check_axe(page, "an unreadable image")
    check_axe(opened("/studies", scheme=scheme), "studies")
    check_axe(opened("/login", scheme=scheme), "token")


def test_the_addresses_of_the_page_are_this_machine_s(opened: Open, address: str) -> None:
    page = opened()
    assert urlsplit(page.url).hostname == "127.0.0.1"
    policy = page.request.get(address).headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
