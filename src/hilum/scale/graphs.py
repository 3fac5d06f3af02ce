"""From a network to the file of another engine, and the check that it still computes the same."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from hilum.artifacts.export import ExportedGraph
from hilum.errors import ModelError
from hilum.files import replacing
from hilum.inference.exported import digest_of
from hilum.inference.runtimes.graph import Graph, open_graph
from hilum.scale.networks import Network

TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2}
"""Largest difference of an output from torch's, as a share of the largest value of that output, or absolute where that
is below 1."""

INPUT = "x"
SMALLEST = 256
"""Arrays of fewer numbers stay float32 in an fp16 file."""


def package(name: str, extra: str) -> ModuleType:
    """A package that exporting needs. ModelError where it is not installed.

    >>> package("json", "onnx").__name__
    'json'
    >>> package("no_such_package", "onnx")
    Traceback (most recent call last):
    hilum.errors.ModelError: exporting needs no_such_package, which is not installed; pip install 'hilum[onnx]'
    """
    from importlib import import_module

    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise ModelError(
            f"exporting needs {name}, which is not installed", f"pip install 'hilum[{extra}]'"
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """The exporter's own warnings are about its inside; its errors pass.

    >>> with quiet():
    ...     warnings.warn("deprecated", FutureWarning)
    """
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def write_onnx(network: Network, file: Path, precision: str = "fp32") -> None:
    """The network as .onnx with a dynamic batch and its facts as metadata; "fp16" halves the file: weights are stored
    in float16, and the engine computes in float32. ModelError where onnx or onnxscript is missing, or the network
    holds something that ONNX can't say.

    >>> write_onnx(Network(torch.nn.Identity(), torch.zeros(2, 3), ("y",)), Path("gone/x.onnx"), "fp8")
    Traceback (most recent call last):
    hilum.errors.ModelError: precision 'fp8' is not known; choose fp32, fp16 or int8
    """
    if precision not in TOLERANCE:
        raise ModelError(f"precision {precision!r} is not known", "choose fp32, fp16 or int8")
    onnx = package("onnx", "onnx")
    package("onnxscript", "onnx")
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                network.module,
                (network.example,),
                dynamo=True,
                dynamic_shapes=(_free(network),),
                input_names=[INPUT],
                output_names=list(network.outputs),
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        while error.__cause__ is not None:
            error = error.__cause__
        reason = str(error).strip().split("\n", 1)[0]
        raise ModelError(
            f"the network can't be exported to ONNX ({reason})", "choose --to torch-export"
        ) from None
    assert program is not None  # it is None only where a file is named
    model = program.model_proto
    if precision == "fp16":
        in_half(model)
    without_traces(model)
    for name, text in network.facts.items():
        model.metadata_props.add(key=name, value=text)
    with replacing(file) as temporary:
        onnx.save(model, temporary)


def _free(network: Network) -> dict[int, torch.export.Dim]:
    return {axis: torch.export.Dim(name) for axis, name in enumerate(network.free)}


def without_traces(model) -> None:
    """Takes out what the exporter tells of this machine: traces with paths at each node.

    >>> import onnx
    >>> node = onnx.helper.make_node("Relu", ["x"], ["y"], doc_string="/home/somebody/net.py")
    >>> model = onnx.helper.make_model(onnx.helper.make_graph([node], "net", [], []))
    >>> without_traces(model)
    >>> model.graph.node[0].doc_string
    ''
    """
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""


def in_half(model) -> None:
    """Stores the large float32 arrays of an ONNX model as float16, each with a cast back.

    >>> import onnx
    >>> weights = onnx.numpy_helper.from_array(np.ones(300, np.float32), "w")
    >>> add = onnx.helper.make_node("Add", ["x", "w"], ["y"])
    >>> ends = [onnx.helper.make_tensor_value_info(name, 1, [300]) for name in "xy"]
    >>> model = onnx.helper.make_model(onnx.helper.make_graph([add], "sum", ends[:1], ends[1:], [weights]))
    >>> in_half(model)
    >>> [node.op_type for node in model.graph.node], model.graph.initializer[0].data_type == onnx.TensorProto.FLOAT16
    (['Cast', 'Add'], True)
    """
    onnx = package("onnx", "onnx")
    casts = []
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALLEST:
            continue
        name, half = tensor.name, f"{tensor.name}.half"
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), half))
        casts.append(onnx.helper.make_node("Cast", [half], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def write_openvino(onnx_file: Path, file: Path, facts: Mapping[str, str], precision: str) -> None:
    """An .onnx file as .xml and .bin, with the facts as runtime information. ModelError where openvino is missing.

    >>> write_openvino(Path("gone.onnx"), Path("gone.xml"), {}, "fp32")
    Traceback (most recent call last):
    hilum.errors.ModelError: gone.onnx is missing; export the model again
    """
    if not onnx_file.exists():
        raise ModelError(f"{onnx_file} is missing", "export the model again")
    openvino = package("openvino", "openvino")
    model = openvino.convert_model(str(onnx_file))
    for name, text in facts.items():
        model.set_rt_info(text, ["hilum", name])
    openvino.save_model(model, str(file), compress_to_fp16=precision == "fp16")


def write_torch_export(network: Network, file: Path) -> None:
    """The network as .pt2 for `torch.export.load`, with a dynamic batch and its facts as extra files.

    >>> from tempfile import TemporaryDirectory
    >>> network = Network(torch.nn.Identity(), torch.zeros(2, 3), ("y",), {"hilum.classes": "[]"})
    >>> with TemporaryDirectory() as folder:
    ...     write_torch_export(network, Path(folder) / "model.pt2")
    ...     torch.export.load(Path(folder) / "model.pt2").module()(torch.ones(4, 3)).shape
    torch.Size([4, 3])
    """
    with quiet(), torch.no_grad():
        program = torch.export.export(network.module, (network.example,), dynamic_shapes=(_free(network),))
        with replacing(file) as temporary:
            torch.export.save(program, temporary, extra_files=dict(network.facts))


def open_exported(file: Path) -> Graph:
    """The graph of any target, for the check.

    >>> open_exported(Path("gone.onnx"))
    Traceback (most recent call last):
    hilum.errors.ModelError: gone.onnx is missing; export the model again
    """
    if file.suffix != ".pt2":
        return open_graph("onnx" if file.suffix == ".onnx" else "openvino", file)
    with quiet():
        module = torch.export.load(file).module()

    def graph(batch: np.ndarray) -> dict[str, np.ndarray]:
        with torch.no_grad():
            outputs = module(torch.from_numpy(batch))
        values = outputs if isinstance(outputs, tuple | list) else [outputs]
        return {str(place): value.numpy() for place, value in enumerate(values)}

    return graph


def verified(network: Network, folder: Path, files: list[str], precision: str) -> ExportedGraph:
    """The facts of an exported network after the check: all golden images at once and the first alone, or images of two
    sizes, give torch's outputs. ModelError above the tolerance; int8 has none here, its accuracy is checked on images.

    >>> verified(Network(torch.nn.Identity(), torch.zeros(2, 3), ("y",)), Path("gone"), ["model.onnx"], "fp32")
    Traceback (most recent call last):
    hilum.errors.ModelError: gone/model.onnx is missing; export the model again
    """
    graph, allowed = open_exported(folder / files[0]), TOLERANCE.get(precision)
    batch = network.example
    inputs = [batch, *([batch[:1]] if network.free == ("batch",) else network.others)]
    difference = max(apart(network.answers(some), graph(some.numpy())) for some in inputs)
    if allowed is not None and not difference <= allowed:
        raise ModelError(
            f"{files[0]} differs from torch by {difference:.2g}, more than {allowed:g}",
            "choose another --to or --precision",
        )
    return ExportedGraph(
        files=files,
        digest=digest_of(folder, files),
        outputs=list(network.outputs),
        difference=difference,
        tolerance=allowed,
    )


def apart(wanted: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> float:
    """The largest difference of an output, as TOLERANCE counts it. ModelError for another shape, NaN or infinity.

    >>> apart({"y": np.array([2.0, 4.0])}, {"y": np.array([2.0, 5.0])})
    0.25
    """
    largest = 0.0
    for (name, expected), value in zip(wanted.items(), outputs.values(), strict=True):
        if value.shape != expected.shape or not np.isfinite(value).all():
            raise ModelError(f"the exported network gives no {name} as torch does", "choose another --to")
        unit = max(1.0, float(np.abs(expected).max()))
        largest = max(largest, float(np.abs(value.astype(float) - expected.astype(float)).max()) / unit)
    return largest
