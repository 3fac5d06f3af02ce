"""export.json, what `hilum export` writes last: the graphs of a folder, their digests and how far they are from
torch."""

from typing import ClassVar, Literal

from hilum.artifacts.base import Artifact, Part


class Int8Check(Part):
    """Validation images that the float32 network and the int8 graph classify correctly; `calibrated_on`: images of
    train that the ranges were measured on."""

    calibrated_on: int
    images: int
    correct_in_float32: int
    correct: int


class ExportedGraph(Part):
    """One network. `files`: relative to the folder, the first is opened; `digest`: of all of them; `outputs`: names;
    `difference`: the largest of any output from torch's on the golden images, as a share of the output's largest value
    or absolute below 1; `tolerance`: what was allowed, None for int8, where `int8` says what it costs."""

    files: list[str]
    digest: str
    outputs: list[str]
    difference: float
    tolerance: float | None = None
    int8: Int8Check | None = None


class Export(Artifact):
    """`kind`: one classifier, or the models of the package; `graphs`: by name, "model" or "binary", "multiclass" and
    "anomaly", and "lungs" where the lungs are marked; `source`: digest of what was exported; `whole`: the graph from
    raw pixels to the decision, where there is one."""

    SCHEMA: ClassVar[int] = 1
    STAGE: ClassVar[str] = "export"
    REMEDY: ClassVar[str] = "export the model again: hilum export"

    kind: Literal["classifier", "packaged"]
    target: Literal["onnx", "openvino", "torch-export", "monai-bundle", "browser"]
    precision: Literal["fp32", "fp16", "int8"]
    hilum: str
    source: str
    graphs: dict[str, ExportedGraph]
    whole: ExportedGraph | None = None
