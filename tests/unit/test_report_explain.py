"""The section "Explanations": true to the stage's files, one scale, nothing lost when a part is missing."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hilum.artifacts.base import Figure
from hilum.artifacts.explanations import (
    REGIONS,
    ExplainedImage,
    Explanations,
    Failure,
    FilterRegions,
    MapRange,
    Maximal,
    MethodMaps,
    OcclusionMap,
    Synthesis,
)
from hilum.errors import RunError
from hilum.evaluation.shares import share_figure
from hilum.folders import AttributionFolder
from hilum.report.build_page import print_page
from hilum.report.explanations.filters import dead_words, marks
from hilum.report.explanations.positions import raw_maps
from hilum.report.explanations.reading import (
    TaskExplanations,
    mistake_map,
    mistake_maps_note,
    read_explanations,
)
from hilum.report.explanations.section import lead, make
from hilum.report.explanations.verdicts import depends, matters, steady
from hilum.report.stated import stated
from hilum.run import Run

SIZE = (32, 32)
DIGEST = "abc"
TASK, SIZE = "multiclass", (32, 40)
TITLES = {"occlusion": "Occlusion", "grad_cam": "Grad-CAM", "saliency": "Saliency"}
PEAK = {"grad_cam": 0.25, "saliency": -4.0}
"""The largest magnitude of each method, in the second image."""


def page_of(run: Run) -> str:
    section = make(run)
    assert section is not None
    return print_page("test", [section]).replace("\u00a0", " ")


# -- real output of the stage --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_page(small_run: Run) -> str:
    return page_of(small_run)


def test_the_figures_of_the_stage_are_printed(small_run: Run, real_page: str) -> None:
    figures = small_run.task(TASK).attributions.figures()
    assert figures.faithfulness and figures.lungs and figures.ablation and figures.probes and figures.concepts
    assert '<section id="explanations">' in real_page and "Explanations</h2>" in real_page
    assert len(figures.faithfulness.rows) >= 3  # the methods of SMALL
    for row in figures.faithfulness.rows:
        cells = ".*?".join(f"<td>{each.value:.2f}" for each in (row.deletion, row.insertion, row.unexplained))
        head = re.escape(f'<th scope="row">{row.title}</th>')
        assert re.search(head + cells, re.sub(r"\s*\n\s*", "", real_page))
    lungs = stated(figures.lungs.area).replace("\u00a0", " ")
    assert f"The lungs fill {lungs} of the image" in real_page
    assert f"Filter {figures.ablation.rows[0].filter} matters most" in real_page
    assert f"Fitted on {figures.probes.fitted} training images" in real_page
    assert f"{figures.concepts.images} phantom images" in real_page


def test_the_binary_task_has_known_lesions(small_run: Run, real_page: str) -> None:
    truth = small_run.task("binary").attributions.figures().truth
    assert truth
    best = next(row for row in truth.rows if row.name == truth.best)
    assert f"The best result is that of {best.title}" in real_page
    assert f"({best.pointing.counts}; 95 % CI" in real_page


def test_pictures_have_words_and_nothing_is_fetched(real_page: str) -> None:
    images = re.findall(r"<img [^>]*>", real_page)
    assert len(images) > 20
    assert [image for image in images if not re.search(r'alt="[^"]{5,}"', image)] == []
    assert not re.search(r'<img[^>]* src="(?!data:)', real_page)


def test_same_run_same_bytes(small_run: Run, real_page: str) -> None:
    assert page_of(small_run) == real_page


# -- planted explanations ------------------------------------------------------------------------------------


def planted(small_run: Run, folder: Path, change: Callable[[Explanations], None] | None = None) -> Run:
    """A copy of the small run, its explanations of one task replaced with planted ones."""
    shutil.copytree(small_run.path, folder)
    shutil.rmtree(folder / "binary" / "attributions")
    shutil.rmtree(folder / TASK / "attributions")
    run = Run(folder)
    task = run.task(TASK)
    digest = task.card().weights_digest
    images = chosen(run)
    figures = Explanations(
        schema_version=Explanations.SCHEMA,
        weights_digest=digest,
        task=TASK,
        classes=["normal", "bacteria", "virus"],
        images=images,
        occlusion=occlusion(task.attributions, images[:3], digest),
        maps=maps(task.attributions, images, digest),
        maximal=maximal(run, digest),
        synthesis=synthesis(task.attributions, images[0].case_id, digest),
        failures=[Failure(what="DeepLIFT", why="it has no rule for <b>GELU</b>")],
    )
    if change:
        change(figures)
    figures.save(task.attributions.figures_file)
    return run


def chosen(run: Run) -> list[ExplainedImage]:
    """One example of each label and one mistake; roles are planted, whatever the model predicts."""
    table = run.task(TASK).predictions()
    held = table[table["split"] == "test"]
    rows = [held[held["label"] == label].iloc[0] for label in ("normal", "bacteria", "virus")]
    rows.append(held[held["target"] != held["predicted"]].iloc[-1])
    names = ["normal", "bacteria", "virus", str(rows[3]["predicted"])]
    return [
        ExplainedImage(
            case_id=row["case_id"],
            patient=row["patient"],
            split="test",
            label=row["label"],
            target=row["target"],
            predicted=row["predicted"],
            role="mistake" if place == 3 else "example",
            target_class=names[place],
            probabilities=dict.fromkeys(("normal", "bacteria", "virus"), 1 / 3),
        )
        for place, row in enumerate(rows)
    ]


def occlusion(
    folder: AttributionFolder, images: list[ExplainedImage], digest: str
) -> dict[str, OcclusionMap]:
    """The second image loses nearly all of its probability at one position, the others next to nothing."""
    known = {}
    for place, row in enumerate(images):
        values = np.full((5, 6), 0.8, np.float32)
        values[1, 3] = 0.0625 if place == 1 else 0.78
        path = folder.map_file("occlusion_probability", row.case_id)
        folder.write_arrays(path, {"map": values}, {"weights_digest": digest})
        known[row.case_id] = OcclusionMap(
            lowest=float(values.min()),
            highest=float(values.max()),
            mask=12,
            stride=5,
            fill="zero",
            precision="fp32",
            probability=0.8,
            target_class=row.target_class,
            positions=(5, 6),
        )
    return known


def maps(folder: AttributionFolder, images: list[ExplainedImage], digest: str) -> dict[str, MethodMaps]:
    """Grad-CAM of every image, others of the examples; a square in the middle of each."""
    made = {}
    for name, title in TITLES.items():
        ranges = {}
        for place, row in enumerate(images[: None if name == "grad_cam" else 3]):
            values = np.zeros(SIZE, np.float32)
            values[8:24, 10:30] = PEAK.get(name, 1.0) * (1.0 if place == 1 else 0.25)
            folder.write_arrays(
                folder.map_file(name, row.case_id), {"map": values}, {"weights_digest": digest}
            )
            ranges[row.case_id] = MapRange(lowest=float(values.min()), highest=float(values.max()))
        made[name] = MethodMaps(title=title, source="1999", signed=name != "grad_cam", images=ranges)
    return made


def maximal(run: Run, digest: str) -> Maximal:
    """Two filters of eight on three images; one place has no image, one unit sees padding, filter 5 is dead."""
    folder, table = run.task(TASK).attributions, run.task(TASK).predictions()
    cases = table["case_id"].to_numpy(str)[:6].reshape(2, 3).copy()
    cases[1, 2] = ""
    padding = np.zeros((2, 3), bool)
    padding[0, 1] = True
    arrays = {
        "filters": np.array([3, 6]),
        "case_id": cases,
        "box": np.tile([4, 6, 20, 26], (2, 3, 1)),
        "sees_padding": padding,
        "activation": np.array([[9.5, 8.5, 7.5], [3.25, 2.25, np.nan]], np.float32),
    }
    folder.write_arrays(folder.maximal_file, arrays, {"weights_digest": digest})
    return Maximal(
        layer="features.7",
        read_at="features.8",
        filters=[3, 6],
        of=8,
        dead=[5],
        images=len(table),
        maps=(8, 10),
        padded=1,
        shown=5,
        regions=[regions_of_filter(3, 3), regions_of_filter(6, 2)],
    )


def regions_of_filter(number: int, images: int) -> FilterRegions:
    """All strongest units lie in the left lung, which holds a fifth of the positions."""
    patients = [str(image) for image in range(images)]
    share = {name: share_figure([name == "left lung"] * images, patients) for name in REGIONS}
    return FilterRegions(filter=number, share=share, by_chance=dict.fromkeys(REGIONS, 0.2))


def synthesis(folder: AttributionFolder, start: str, digest: str) -> Synthesis:
    chance = np.random.default_rng(0)
    arrays = {"filters": np.array([3, 6])}
    for way, last in (("plain", 44_700.0), ("clean", 6.5)):
        arrays[way] = chance.normal(size=(2, *SIZE)).astype(np.float32)
        arrays[f"{way}_activation"] = np.linspace([0.5, 0.25], [last, last / 2], 5).T
    folder.write_arrays(folder.synthesis_file, arrays, {"weights_digest": digest})
    return Synthesis(
        layer="features.7", start=start, filters=[3, 6], of=8, steps=4, lr=10_000.0, clean_steps=4
    )


@pytest.fixture(scope="module")
def run(small_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return planted(small_run, tmp_path_factory.mktemp("explained") / "run")


@pytest.fixture(scope="module")
def page(run: Run) -> str:
    return page_of(run)


@pytest.fixture(scope="module")
def known(run: Run) -> TaskExplanations:
    found = read_explanations(run, TASK)
    assert found is not None
    return found


def test_the_lead_says_what_a_covered_square_costs(known: TaskExplanations, page: str) -> None:
    words = lead(known).replace("\u00a0", " ")
    # 12 x 12 of 32 x 40 px are 11 %; one of three images falls below half
    assert words.startswith("Covering one square of 11 % of the image more than halves the probability")
    assert "in 1 of 3 images" in words and "from 0.800 to 0.062" in words
    assert words in page


def test_one_scale_per_method_is_printed(known: TaskExplanations, page: str) -> None:
    assert known.scale("saliency") == pytest.approx(4.0, rel=0.02)  # of all images, not of each
    assert known.scale("grad_cam") == pytest.approx(0.25)
    assert known.scale("occlusion") == pytest.approx(0.8 - 0.0625)
    assert "0.738 lost probability in the column Occlusion" in page
    assert "0.25 evidence in the column Grad-CAM" in page
    assert "−1 against" in page and "+1 for" in page


def test_a_small_loss_never_gets_the_full_colour(small_run: Run, tmp_path: Path) -> None:
    run = planted(small_run, tmp_path / "run")
    folder, digest = run.task(TASK).attributions, run.task(TASK).card().weights_digest
    paths = list(folder.map_file("occlusion_probability", "x").parent.glob("*.npz"))
    assert len(paths) == 3
    for path in paths:
        values = np.maximum(folder.read_arrays(path, digest)["map"], 0.79)
        folder.write_arrays(path, {"map": values}, {"weights_digest": digest})
    known = read_explanations(run, TASK)
    assert known is not None and known.scale("occlusion") == 0.1


def test_range_and_what_a_covered_square_does(page: str) -> None:
    assert "Covering the marked square changes P(bacteria) from 0.800 to 0.062." in page
    assert "No square matters much: covering the marked one changes P(normal) from 0.800 to 0.780." in page
    assert "0.000 to 0.738" in page
    assert re.search(r"Saliency</b>: −4\.00 to 0\.00", page)


def test_the_raw_map_tells_mask_steps_positions_and_inversion(page: str) -> None:
    assert "A black square of 12 × 12 px moves over the image in steps of 5 px" in page
    assert "5 × 6 = 30 positions" in page
    assert "P(normal), P(bacteria) and P(virus)" in page and "1 − P(abnormal), which is P(normal)" in page


def test_a_map_that_spans_little_stands_on_a_scale_of_its_own_too(known: TaskExplanations, page: str) -> None:
    raw = raw_maps(known)
    assert raw is not None
    shown = [(picture.label, picture.stretched is not None) for picture in raw.pictures]
    assert shown == [("normal", True), ("bacteria", False), ("virus", True)]
    assert all(picture.stretched != picture.source for picture in raw.pictures)
    assert page.count("from its lowest (dark) to its highest value (light)") == 2


def test_filters_name_their_images_borders_and_the_dead(page: str) -> None:
    assert [number for number in (3, 6) if f"<b>Filter {number}</b>" in page] == [3, 6]
    assert page.count("receptive field of filter 3") == 3 and page.count("receptive field of filter 6") == 2
    assert "about 25 % of the image" in page  # 16 x 20 of 32 x 40
    assert page.count('<span class="small">border</span>') == 1
    assert "1 of 5 strongest units" in page
    assert "1 of 8 filters is never active or answers every image alike (dead): 5." in page
    assert "9.50" in page and "3.25" in page
    assert "N normal, B bacteria and V virus" in page


def test_synthesis_shows_both_ascents_with_their_rise(page: str) -> None:
    assert "plain: 0.5 to 44,700" in page and "clean: 0.5 to 6.5" in page
    assert "for 4 steps" in page and "learning rate 10,000" in page
    assert "Plain ascent: activation of 2 filters over 4 steps" in page


def test_a_part_that_failed_is_printed_and_escaped(page: str) -> None:
    assert "Left out: DeepLIFT. The reason: It has no rule for &lt;b&gt;GELU&lt;/b&gt;." in page


def test_mistakes_have_a_map_for_the_gallery(known: TaskExplanations) -> None:
    (mistake,) = known.figures.mistakes
    picture = mistake_map(known, mistake.case_id)
    assert picture is not None
    assert picture[1] == f"Grad-CAM: evidence for {mistake.target_class}"
    assert "(Grad-CAM, orange; full colour stands for 0.25 in every image)" in mistake_maps_note(
        known
    ).replace("\u00a0", " ")
    assert mistake_map(known, known.figures.examples[0].case_id) is None
    assert mistake_map(None, mistake.case_id) is None and mistake_maps_note(None) == ""


# -- what may be missing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "empty"), [("occlusion", {}), ("maps", {}), ("maximal", None), ("synthesis", None)]
)
def test_every_part_may_be_missing(small_run: Run, part: str, empty: object, tmp_path: Path) -> None:
    run = planted(small_run, tmp_path / "run", lambda figures: setattr(figures, part, empty))
    assert "Left out: DeepLIFT." in page_of(run)


def test_maps_that_were_not_tested_are_not_called_tested(
    small_run: Run, real_page: str, tmp_path: Path
) -> None:
    run = planted(small_run, tmp_path / "run", lambda figures: setattr(figures, "faithfulness", None))
    printed, command = page_of(run), "--set faithfulness.images=12</code> measures it"
    assert command in printed and "each method is printed with its faithfulness" not in printed
    assert command not in real_page and "each method is printed with its faithfulness" in real_page


def test_nothing_explained_yet_names_the_command(small_run: Run, tmp_path: Path) -> None:
    shutil.copytree(small_run.path, tmp_path / "run")
    for task in ("binary", TASK):
        shutil.rmtree(tmp_path / "run" / task / "attributions")
    words = page_of(Run(tmp_path / "run"))
    assert "This stage has not run yet." in words and "hilum explain " in words


def test_the_regions_of_filters_stand_below_their_images(small_run: Run, tmp_path: Path) -> None:
    words = page_of(planted(small_run, tmp_path / "run"))
    assert "100.0 %" in words and "3/3; 43.9 to 100.0 %; by chance 20 %" in words
    lost = page_of(planted(small_run, tmp_path / "lost", without_regions))
    assert "by chance 20 %" not in lost and "Strongest activations of single filters" in lost


def without_regions(figures: Explanations) -> None:
    assert figures.maximal
    figures.maximal.regions = None


def test_lost_maps_and_images_leave_the_rest(small_run: Run, tmp_path: Path) -> None:
    run = planted(small_run, tmp_path / "run")
    folder = run.task(TASK).attributions
    folder.map_file("saliency", folder.figures().images[0].case_id).unlink()
    folder.maximal_file.unlink()
    words = page_of(run)
    assert "No map." in words and "Strongest activations of single filters" not in words


def test_a_lost_image_is_grey(known: TaskExplanations) -> None:
    assert (known.grey("no such case") == 110).all()


def test_other_weights_are_refused(small_run: Run, tmp_path: Path) -> None:
    run = planted(small_run, tmp_path / "run", lambda figures: setattr(figures, "weights_digest", "other"))
    with pytest.raises(RunError, match=r"other weights .* hilum explain"):
        make(run)


def test_a_map_of_other_weights_is_refused(small_run: Run, tmp_path: Path) -> None:
    run = planted(small_run, tmp_path / "run")
    folder = run.task(TASK).attributions
    path = folder.map_file("saliency", folder.figures().images[0].case_id)
    folder.write_arrays(path, {"map": np.zeros(SIZE, np.float32)}, {"weights_digest": "other"})
    with pytest.raises(RunError, match="made with other weights"):
        make(run)


# -- words ---------------------------------------------------------------------------------------------------


def test_letters_and_dead_filters() -> None:
    labels = ("normal", "bacteria", "virus", "pneumonia")
    assert list(marks(labels).values()) == ["N", "B", "V", "P"]
    assert len(set(marks(("normal", "nodule", "covid", "cancer")).values())) == 4
    many = dead_words(list(range(20)), 64)
    assert many.startswith("20 of 64 filters are never active") and many.endswith("10, 11 and others.")


def test_verdicts_at_their_limits() -> None:
    assert matters(0.025, 0.05).startswith("The marked pixels matter:")
    assert matters(0.025, 0.051).startswith("Removing the marked pixels lowers")
    assert matters(0.051, 0.025).startswith("Adding the marked pixels raises")
    assert matters(0.026, 0.026).endswith("do not rely on this map.")
    assert matters(None, None) == matters(1.0, 1.0)
    assert "shows the image, not the network" in depends(_between(0.5, 0.7))
    assert "depends on the trained weights." in depends(_between(0.3, 0.49))
    assert "is not shown" in depends(_between(0.3, 0.51)) and "is not shown" in depends(Figure(value=0.1))
    assert steady(_between(0.85, 0.95)).startswith("A little noise hardly")
    assert (
        steady(_between(0.81, 0.9)) == "A little noise may change it."
    )  # skewed: two fifths more room below
    assert "large areas only" in steady(_between(0.3, 0.49))
    assert steady(_between(0.6, 0.9)) == steady(Figure(value=0.9)) == "A little noise may change it."


def _between(low: float, high: float) -> Figure:
    return Figure(value=(low + high) / 2, low=low, high=high)
