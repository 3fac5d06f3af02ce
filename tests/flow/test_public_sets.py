"""A whole study, with every stage, of each public set whose layout hilum reads: tiny images, one epoch."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hilum.run import Run
from tests import public_studies
from tests.flow.test_any_classes import words_of

FINDINGS = "{name: resnet, options: {width: 4, stages: [1], embedding: 8}}"
SETTINGS = [
    *(f"--set={name}.pixels.size=[24, 32]" for name in ("binary", "multiclass", "findings")),
    *(f"--set={name}.training.epochs=1" for name in ("binary", "multiclass", "findings")),
    *(
        f"--set={name}.model={{name: vgg, options: {{blocks: [[4]], dense: [4]}}}}"
        for name in ("binary", "multiclass")
    ),
    f"--set=findings.model={FINDINGS}",
    "--set=leakage=null",
    "--set=replicates=5",
    "--set=reliability={mc_passes: 2, images: 4, views: false, folds: 2, ood_images: 2}",
    "--set=robustness={severities: [5], corruptions: [low_dose], replicates: 0}",
    "--set=embed={maps: [pca], baselines: []}",
    "--set=explain={methods: {saliency: {}}, occlusion: {stride: 16}, scan: 4, filters: 1, images: 1, synthesis:"
    " {filters: 1, steps: 1, clean_steps: 1}, faithfulness: {images: 1, steps: 2, truth: 0}, layers: {ablation: 0,"
    " probes: 0, concepts: 0}}",
    "--set=anomaly={detectors: {patch_gaussian: {features: pixels, channels: 8}}, pixels: {size: [24, 32]},"
    " split: {val_fraction: 0.5}, false_alarm_rate: 0.5, ood_images: 2}",
    "--set=counterfactual={images: 8, shown: 1, replicates: 5}",
]
"""Every stage, on few tiny images."""

EXPECTED = {
    "nih_chestxray14": (
        ("binary", "findings"),
        (
            "Normal vs abnormal",
            "Lowest AUROC: ",
            "the column Patient ID",
            "The images show people aged 30 to 41",
        ),
    ),
    "chexpert": (
        ("multiclass", "findings"),
        ("Normal, edema and pleural effusion", "Lateral views, left out: 3", "the folder patientNNNNN"),
    ),
    "covid19_radiography": (
        ("multiclass",),
        ("Normal, covid, lung_opacity and viral pneumonia", "Masks, left out: 48 images."),
    ),
    "montgomery_shenzhen": (("binary",), ("Normal vs tuberculosis", "Site: Montgomery")),
    "vindr_cxr": (
        ("multiclass", "findings"),
        ("Normal, cardiomegaly and pneumothorax", "the headers of DICOM files (48 images)"),
    ),
    "vindr_pcxr": (
        ("binary", "findings"),
        ("Normal vs abnormal", "Brocho-pneumonia", "the headers of DICOM files (48 images)"),
    ),
    "rsna_pneumonia": (
        ("multiclass",),
        ("3 classes", "the column patientId", "The images show people aged 20 to 31"),
    ),
}
"""The tasks that are trained, and words that the report holds."""


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_a_study_runs_to_its_report(name: str, tmp_path: Path, hilum: Callable) -> None:
    data = public_studies.SETS[name](tmp_path / name)
    ten_of_each_site = ["--set=binary.split.test_fraction=0.5"]
    more = ten_of_each_site if name == "montgomery_shenzhen" else []
    tasks, words = EXPECTED[name]
    of_tasks = [word for task in tasks for word in ("--task", task)]
    answer = hilum("study", data, "--out", tmp_path / "run", *of_tasks, *SETTINGS, *more)
    assert answer.code == 0, answer.err
    run = Run(tmp_path / "run")
    assert (run.tasks, run.failed_stages) == (tasks, [])
    assert run.facts().data.source == name.removesuffix("_cxr").removesuffix("_pcxr")
    left_out = {label: record.reason for label, record in run.stage_records().items() if not record.finished}
    assert [label for label in left_out if not label.endswith("findings")] == [], left_out
    text = words_of(run.report_file.read_text(encoding="utf-8"))
    assert [each for each in words if each not in text] == []
    assert "Published" not in text and "seed report" not in text
