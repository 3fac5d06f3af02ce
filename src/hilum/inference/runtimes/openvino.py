"""OpenVINO on the CPU. Its own choice would be bfloat16 where the processor has it, which moves probabilities in the
third digit; float32 is asked for unless the environment says HILUM_OPENVINO_PRECISION=bf16."""

import os
from pathlib import Path
from threading import local

import numpy as np
import openvino

from hilum.inference.runtimes.graph import Graph
from hilum.threads import cores

PRECISION = "HILUM_OPENVINO_PRECISION"
"""f32 (default) or bf16."""


def open_graph(file: Path) -> Graph:
    """The graph of an .xml file with its .bin, or of an .onnx file.

    >>> open_graph(Path("gone.xml"))
    Traceback (most recent call last):
    RuntimeError: ...
    """
    settings = {
        "INFERENCE_PRECISION_HINT": os.environ.get(PRECISION) or "f32",
        "INFERENCE_NUM_THREADS": cores(),
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,  # workers beside each other would share the first core
    }
    compiled = openvino.Core().compile_model(str(file), "CPU", settings)
    names = [output.get_any_name() for output in compiled.outputs]
    own = local()  # a request is for one thread at a time

    def graph(batch: np.ndarray) -> dict[str, np.ndarray]:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        outputs = own.request.infer([batch])
        return {name: np.array(outputs[place]) for place, name in enumerate(names)}

    return graph
