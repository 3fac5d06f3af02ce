"""ONNX Runtime on the CPU, in float32."""

from pathlib import Path

import numpy as np
import onnxruntime

from hilum.inference.runtimes.graph import Graph
from hilum.threads import cores

SILENT = 3
"""Errors alone are logged."""


def open_graph(file: Path) -> Graph:
    """The graph of an .onnx file.

    >>> open_graph(Path("gone.onnx"))
    Traceback (most recent call last):
    onnxruntime.capi.onnxruntime_pybind11_state.NoSuchFile: ...
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    options.log_severity_level = SILENT
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the cores may be shared
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name
    names = [output.name for output in session.get_outputs()]

    def graph(batch: np.ndarray) -> dict[str, np.ndarray]:
        values = session.run(names, {given: batch})
        return dict(zip(names, map(np.asarray, values), strict=True))

    return graph
