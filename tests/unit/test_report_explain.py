"""What it looks at: true to the stage's files, one scale, nothing lost when a part is missing."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.errors import RunError
from hilum.files import write_json
from hilum.report.believing import depends, matters, steady
from hilum.report.build import build_report
from hilum.report.build_page import _printer as printer
from hilum.report.explained import explained
from hilum.report.sections.explain import beside, explain, lead
from hilum.report.sections.filters import dead_words, letter
from hilum.run import Run

from .made_run import LABELS, made_run

SIZE = (32, 32)
DIGEST = "abc"
TITLES = {"occlusion": "Occlusion", "grad_cam": "Grad-CAM", "saliency": "Saliency"}


def explained_run(folder: Path, odd: str = "", leave: tuple[str, ...] = ()) -> Run:
    """The drawn run of the section before this one, with hand-made explanations; `leave` parts out."""
    run = made_run(folder, odd)
    write_explanations(run, odd, leave)
    return run


def write_explanations(run: Run, odd: str, leave: tuple[str, ...]) -> None:
    folder = run.task("multiclass").attributions
    table = run.task("multiclass").predictions()
    held = table[table["split"] == "test"]
    images = [image_row(held, label) for label in LABELS]
    wrong = held[held["target"] != held["predicted"]].iloc[0]
    images.append({**facts_of(wrong), "role": "mistake"})
    figures: dict[str, Any] = {
        "format": 1,
        "weights_digest": DIGEST,
        "task": "multiclass",
        "classes": list(LABELS),
        "source": "folder",
        "pixels": {"size": list(SIZE), "fit": "pad", "mean": 0.4, "sd": 0.2},
        "choices": {},
        "images": images,
        "occlusion": occlusion(folder, images[:3]),
        "maps": maps(folder, images),
        "maximal": maximal(folder, table),
        "synthesis": synthesis(folder, images[0]["case_id"]),
        "failures": [{"what": f"DeepLIFT{odd}", "why": "it has no rule for GELU"}],
        "seconds": {},
    }
    for name in leave:
        del figures[name]
    write_json(folder.figures_file, figures)


def image_row(held: Any, label: str) -> dict[str, Any]:
    right = held[(held["label"] == label) & (held["predicted"] == label)].iloc[0]
    return {**facts_of(right), "role": "example"}


def facts_of(row: Any) -> dict[str, Any]:
    shares = {name: float(row[f"prob_{name}"]) for name in LABELS}
    kept = {key: str(row[key]) for key in ("case_id", "patient", "split", "label", "target", "predicted")}
    return {**kept, "asked": row["predicted"], "probabilities": shares}


def occlusion(folder: Any, images: list[dict[str, Any]]) -> dict[str, Any]:
    """The second image loses nearly all of its probability at one position, the others next to nothing."""
    known = {}
    for number, row in enumerate(images):
        values = np.full((5, 5), 0.8, np.float32)
        values[1, 3] = 0.0625 if number == 1 else 0.78
        facts = {"mask": 12, "stride": 5, "fill": "zero", "precision": "fp32", "target": row["asked"]}
        facts |= {"probability": 0.8}
        folder.write_arrays(
            folder.map_file("occlusion_probability", row["case_id"]),
            {"map": values},
            {**facts, "size": list(SIZE), "weights_digest": DIGEST},
        )
        ends = {"lowest": float(values.min()), "highest": float(values.max())}
        known[row["case_id"]] = {**facts, "positions": [5, 5], **ends}
    return known


def maps(folder: Any, images: list[dict[str, Any]]) -> dict[str, Any]:
    """Grad-CAM of every image, others of the examples; the largest magnitude of saliency is -4 in image 2."""
    done: dict[str, Any] = {}
    for name, title in TITLES.items():
        block: dict[str, Any] = {"title": title, "source": f"{title}, 1999", "signed": name != "grad_cam"}
        block["images"] = {}
        for number, row in enumerate(images):
            if row["role"] == "mistake" and name != "grad_cam":
                continue
            values = np.zeros(SIZE, np.float32)
            values[8:24, 8:24] = (1.0, -4.0, 0.5, 2.0)[number] * (1 if name == "saliency" else 0.25)
            values = np.abs(values) if name == "grad_cam" else values
            facts = {"target": row["asked"], "weights_digest": DIGEST, "title": title}
            folder.write_arrays(folder.map_file(name, row["case_id"]), {"map": values}, facts)
            block["images"][row["case_id"]] = {"lowest": float(values.min()), "highest": float(values.max())}
        done[name] = block
    return done


def maximal(folder: Any, table: Any) -> dict[str, Any]:
    """Two filters of eight on three images; one place has no image, one unit sees padding, filter 5 is dead."""
    cases = table["case_id"].to_numpy(str)[:6].reshape(2, 3).copy()
    cases[1, 2] = ""
    box = np.tile([4, 6, 20, 22], (2, 3, 1))
    padding = np.zeros((2, 3), bool)
    padding[0, 1] = True
    arrays = {"filters": np.array([3, 6]), "case_id": cases, "box": box, "sees_padding": padding}
    arrays["activation"] = np.array([[9.5, 8.5, 7.5], [3.25, 2.25, np.nan]], np.float32)
    facts = {"layer": "features.7", "of": 8, "dead": [5], "images": len(table), "maps": [8, 8]}
    facts |= {"padded": 1, "shown": 5, "filters": [3, 6], "weights_digest": DIGEST}
    folder.write_arrays(folder.maximal_file, arrays, facts)
    return facts


def synthesis(folder: Any, start: str) -> dict[str, Any]:
    chance = np.random.default_rng(0)
    arrays = {"filters": np.array([3, 6])}
    for way, last in (("plain", 44_700.0), ("clean", 6.5)):
        arrays[way] = chance.normal(size=(2, *SIZE)).astype(np.float32)
        arrays[f"{way}_activation"] = np.linspace([0.5, 0.25], [last, last / 2], 5).T
    facts = {"layer": "features.7", "start": start, "filters": [3, 6], "of": 8, "steps": 4, "lr": 10_000.0}
    facts |= {"clean_steps": 4, "weights_digest": DIGEST}
    folder.write_arrays(folder.synthesis_file, arrays, facts)
    return facts


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return explained_run(tmp_path_factory.mktemp("explained") / "run")


@pytest.fixture(scope="module")
def page(run: Run) -> str:
    return build_report(run).read_text(encoding="utf-8")


def printed(run: Run) -> str:
    """This section alone, as build_report prints it."""
    section = explain(run)
    assert section is not None
    text = printer().get_template(section.template).render(section.values, section=section)
    return text.replace("\u00a0", " ")


def section_of(page: str) -> str:
    found = re.search(r'<section id="explain">(.*?)</section>', page, re.DOTALL)
    assert found
    return found[1].replace("\u00a0", " ")


# -- words and numbers ---------------------------------------------------------------------------------------


def test_the_lead_says_what_a_covered_square_costs(run: Run) -> None:
    that = explained(run, "multiclass")
    assert that is not None
    said = lead(that).replace("\u00a0", " ")
    # 12 x 12 of 32 x 32 px are 14 %; one of three images falls below half
    assert said.startswith("Covering one square of 14 % of the image more than halves")
    assert "in 1 of 3 images" in said and "falls from 0.800 to 0.062" in said


def test_lead_stands_in_the_first_minute(page: str) -> None:
    minute = re.search(r'<section id="minute">(.*?)</section>', page, re.DOTALL)
    assert minute and "Covering one square of" in minute[1]


def test_one_scale_per_method_is_printed(run: Run, page: str) -> None:
    that = explained(run, "multiclass")
    assert that is not None
    assert that.scale("saliency") == pytest.approx(4.0, rel=0.02)  # of all images, not of each
    assert that.scale("grad_cam") == pytest.approx(1.0)
    assert that.scale("occlusion") == pytest.approx(0.8 - 0.0625)
    words = section_of(page)
    assert "0.738 lost probability in the column Occlusion" in words
    assert "1 evidence in the column Grad-CAM" in words
    assert "−1 against" in words and "+1 for" in words


def test_a_small_loss_never_gets_the_full_colour(tmp_path: Path) -> None:
    run = explained_run(tmp_path / "run")
    folder = run.task("multiclass").attributions
    for path in folder.map_file("occlusion_probability", "x").parent.glob("*.npz"):
        arrays, facts = folder.read_arrays(path, DIGEST)
        folder.write_arrays(path, {"map": np.maximum(arrays["map"], 0.79)}, facts)
    that = explained(run, "multiclass")
    assert that is not None and that.scale("occlusion") == 0.1


def test_range_and_what_occlusion_says(page: str) -> None:
    words = section_of(page)
    assert "Covering the marked square takes P(bacteria) from 0.800 to 0.062." in words
    assert "No square matters much: covering the marked one takes P(normal) from 0.800 to 0.780." in words
    assert "0.000 to 0.738" in words
    assert re.search(r"Saliency</b>: −4\.00 to 0\.00", words)


def test_the_raw_map_tells_mask_steps_positions_and_inversion(page: str) -> None:
    words = section_of(page)
    assert "A black square of 12 × 12 px moves over the image in steps of 5 px" in words
    assert "5 × 5 = 25 positions" in words
    assert "P(normal), P(bacteria) and P(virus)" in words and "1 − P(abnormal), which is P(normal)" in words


def test_filters_name_their_images_borders_and_the_dead(page: str) -> None:
    words = section_of(page)
    for number in (3, 6):
        assert f"<b>Filter {number}</b>" in words
    assert words.count("receptive field of filter 3") == 3 and words.count("receptive field of filter 6") == 2
    assert "about 25 % of the image" in words  # 16 x 16 of 32 x 32
    assert words.count('<span class="small">border</span>') == 1
    assert "1 of 5 strongest units" in words
    assert "1 of 8 filters never fires or answer every image alike (dead): 5." in words
    assert "9.50" in words and "3.25" in words
    assert "N normal, B bacteria and V virus" in words


def test_synthesis_shows_both_ways_with_their_rise(page: str) -> None:
    words = section_of(page)
    assert "plain: 0.5 to 44,700" in words and "clean: 0.5 to 6.5" in words
    assert "for 4 steps" in words and "learning rate 10,000" in words
    assert "Plain ascent: activation of 2 filters over 4 steps" in words


def test_a_part_that_failed_is_said(page: str) -> None:
    assert "Left out: DeepLIFT. The reason: It has no rule for GELU." in section_of(page)


def test_mistakes_have_their_map_beside_them(page: str) -> None:
    gallery = re.search(r'<section id="multiclass">(.*?)</section>', page, re.DOTALL)
    assert gallery
    assert gallery[1].count('<div class="heat">') == 1
    assert "Grad-CAM: evidence for" in gallery[1]
    assert "(Grad-CAM, orange; full colour stands for 1 in every image)" in gallery[1]


# -- what may be missing or odd ------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["occlusion", "maps", "maximal", "synthesis"])
def test_every_part_may_be_missing(part: str, tmp_path: Path) -> None:
    run = explained_run(tmp_path / "run", leave=(part,))
    assert "What it looks at" in printed(run)


def test_nothing_explained_yet_names_the_command(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run")
    section = explain(run)
    assert section is not None and section.template == "missing.html"
    assert section.values["command"].startswith("hilum explain ")


def test_lost_maps_and_images_leave_the_rest(tmp_path: Path) -> None:
    run = explained_run(tmp_path / "run")
    folder = run.task("multiclass").attributions
    case = folder.figures()["images"][0]["case_id"]
    folder.map_file("saliency", case).unlink()
    folder.maximal_file.unlink()
    path = Path(run.cases().table.set_index("case_id")["path"][case])
    path.unlink()
    words = printed(run)
    assert "No map." in words and "Where single filters fire most" not in words


def test_other_weights_are_refused(tmp_path: Path) -> None:
    run = explained_run(tmp_path / "run")
    file = run.task("multiclass").attributions.figures_file
    file.write_text(json.dumps({**json.loads(file.read_text()), "weights_digest": "other"}))
    with pytest.raises(RunError, match=r"other weights .* hilum explain"):
        explain(run)


def test_a_map_of_other_weights_is_refused(tmp_path: Path) -> None:
    run = explained_run(tmp_path / "run")
    folder = run.task("multiclass").attributions
    case = folder.figures()["images"][0]["case_id"]
    path = folder.map_file("saliency", case)
    arrays, facts = folder.read_arrays(path, DIGEST)
    folder.write_arrays(path, arrays, {**facts, "weights_digest": "other"})
    with pytest.raises(RunError, match="made with other weights"):
        explain(run)


def test_names_are_escaped(tmp_path: Path) -> None:
    run = explained_run(tmp_path / "run", odd="<b>&'")
    words = printed(run)
    assert "<b>&'" not in words
    assert "&lt;b&gt;&amp;&#39;" in words


def test_same_run_same_bytes_and_nothing_fetched(run: Run, page: str) -> None:
    assert build_report(run).read_text(encoding="utf-8") == page
    assert not re.search(r'(src|href)="(?!data:|#)', section_of(page))


def test_pictures_have_words(page: str) -> None:
    words = section_of(page)
    assert words.count("<img ") > 20
    assert all(re.search(r'alt="[^"]{5,}"', image) for image in re.findall(r"<img [^>]*>", words))


# -- words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "scale", "said"),
    [(-1.2e-6, 1.0, "0.00"), (0.98765, 1.0, "0.99"), (-12.34, 31.0, "−12.3"), (0.0123, 0.05, "0.0123")],
)
def test_a_value_beside_its_scale(value: float, scale: float, said: str) -> None:
    assert beside(value, scale) == said


def test_letters_and_dead_filters() -> None:
    assert [letter(label) for label in ("normal", "bacteria", "virus", "pneumonia")] == ["N", "B", "V", "P"]
    assert dead_words({"dead": [], "of": 8}).startswith("Every one of the 8 filters")
    many = dead_words({"dead": list(range(20)), "of": 64})
    assert many.startswith("20 of 64 filters never fire") and many.endswith("10, 11 and others.")


# -- how far it may be believed ------------------------------------------------------------------------------

GOOD = {"deletion": 0.2, "insertion": 0.9}
CHANCE = {"deletion": 0.5, "insertion": 0.6}


def test_words_of_belief() -> None:
    assert matters(GOOD, CHANCE).startswith("What it marks matters:")
    assert "not enough" in matters({**GOOD, "insertion": 0.6}, CHANCE)
    assert "takes little away" in matters({**GOOD, "deletion": 0.5}, CHANCE)
    assert matters(CHANCE, CHANCE).endswith("don’t rely on it.")
    assert "draws the image, not the network" in depends(0.5) and "trained weights" in depends(0.49)
    assert steady(0.8).startswith("It stays") and "large areas only" in steady(0.49)
    assert steady(0.6) == "A little noise changes it somewhat."
    assert depends(float("nan")) == steady(None) == ""


def believed_run(folder: Path) -> Run:
    """The explained run with figures of every further part."""
    run = explained_run(folder)
    file = run.task("multiclass").attributions.figures_file
    figures = json.loads(file.read_text())
    case = figures["images"][0]["case_id"]
    rows = [
        {"name": "grad_cam", "title": "Grad-CAM", **GOOD, "randomised": 0.1, "noise": 0.95},
        {"name": "saliency", "title": "Saliency", **CHANCE, "randomised": 0.9, "noise": 0.3},
        {"name": "random", "title": "Random numbers", "kind": "baseline", **CHANCE},
    ]
    rows[0]["images"] = {case: {"deletion": 0.05, "insertion": 0.99}}
    same = {"names": ["Grad-CAM", "Saliency"], "values": [[1.0, 0.25], [0.25, 1.0]]}
    figures["faithfulness"] = {"images": 6, "rows": rows, "agreement": same}
    pointing = {"value": 0.95, "k": 19, "n": 20}
    truth = [{"name": "grad_cam", "title": "Grad-CAM", "pointing": pointing, "energy": 0.5, "iou": 0.25}]
    truth += [{"name": "random", "title": "Random numbers", "kind": "baseline", "pointing": 0.1}]
    figures["truth"] = {"images": 20, "rows": truth}
    inside = [{"name": "grad_cam", "title": "Grad-CAM", "share": {"value": 0.6, "low": 0.5, "high": 0.7}}]
    figures["lungs"] = {
        "images": 6,
        "rows": inside,
        "area": 0.31,
        "error": "The lungs were found with error.",
    }
    lost = [{"filter": 4, "loss": 0.25, "classes": {"normal": -0.1, "bacteria": -0.4, "virus": 0.02}}]
    figures["ablation"] = {"whole": {"loss": 1.5}, "images": 9, "of": 8, "layer": "features.7", "rows": lost}
    layers = [{"layer": "features.0", "accuracy": 0.5}, {"layer": "pool", "accuracy": {"value": 0.75}}]
    figures["probes"] = {"rows": layers, "head": 0.8, "fitted": 40, "measured": 20}
    raised = {"normal": {"value": 0.125, "matters": False}, "virus": {"value": 1.0, "matters": True}}
    concept = {"title": "large heart", "accuracy": 0.9, "classes": raised}
    figures["concepts"] = {"layer": "features.7", "images": 30, "rows": [concept]}
    write_json(file, figures)
    return run


def test_each_part_of_belief_is_printed(tmp_path: Path) -> None:
    words = printed(believed_run(tmp_path / "run"))
    assert "deletion 0.05, insertion 0.99, random weights 0.10, noise 0.95" in words  # of this very image
    assert "What it marks matters no more than random spots: don’t rely on it." in words
    assert "Measured on 6 images of the test split" in words
    assert '<tr class="strong"><th scope="row">Random numbers</th>' in words
    assert "0.25" in words and "Do the methods agree" in words
    assert "The best, Grad-CAM, points into the lesion in 95.0 %" in words and "(19/20)" in words
    assert "The lungs fill 31.0 % of the image" in words and "50.0 to 70.0 %" in words
    assert "The lungs were found with error." in words
    assert "The costliest is filter 4: without it the loss changes by +0.25" in words
    assert "falls most for images labelled bacteria" in words and "−0.4" in words
    assert "names 75.0 % of the images correctly from layer “pool”, from the first layer 50.0 %" in words
    assert "Fitted on 40 training images, measured on 20 held-out images" in words
    assert "Without the whole layer the loss changes by +1.5" in words
    row = re.search(r"large heart</th><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td>", words)
    assert row and row.groups() == ("90 %", "12 %", "–", "100 % *")
