"""The table of predictions: its columns, rows in Arrow's format, and a part as the bytes of a Parquet file."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from hilum.errors import ModelError
from hilum.inference.prediction import Prediction
from hilum.inference.show import probabilities_of

if TYPE_CHECKING:
    import pyarrow as pa

Precision = Literal["float16", "float32"]

KEY = b"hilum"
"""Under which a Parquet file of predictions keeps what it is a part of, as JSON."""


@dataclass(frozen=True)
class Columns:
    """`classes`: of the model, or its findings; `embedding`: the numbers' type, None for no such column."""

    classes: tuple[str, ...]
    embedding: Precision | None

    def schema(self) -> "pa.Schema":
        """Name and type of each column.

        >>> Columns(("normal", "pneumonia"), None).schema().names[:5]
        ['file', 'prediction', 'abstained', 'reason', 'abnormal_probability']
        """
        import pyarrow as pa

        words = pa.list_(pa.string())
        fields = [
            pa.field("file", pa.string(), nullable=False),
            ("prediction", pa.string()),
            pa.field("abstained", pa.bool_(), nullable=False),
            ("reason", pa.string()),
            ("abnormal_probability", pa.float64()),
            ("abnormal_threshold", pa.float64()),
            ("abnormal_positive", pa.bool_()),
            *((f"probability_{name}", pa.float64()) for name in self.classes),
            ("findings", words),
            ("prediction_set", words),
            ("ood_p_value", pa.float64()),
            ("ood_flagged", pa.bool_()),
        ]
        if self.embedding:
            number = pa.float16() if self.embedding == "float16" else pa.float32()
            fields.append(("embedding", pa.list_(number)))
        return pa.schema([*fields, ("error", pa.string())])

    def chunk(self, answers: Iterable[tuple[Prediction, np.ndarray | None]]) -> bytes:
        """Rows in Arrow's stream format: predictions, and the vectors "dim" of readable images. ModelError for a vector
        whose numbers float16 can't hold.

        >>> from hilum.inference.prediction import ModelName
        >>> failed = Prediction.failed("x.png", "x.png is empty", ModelName(name="binary", digest=None))
        >>> columns = Columns(("normal", "pneumonia"), "float16")
        >>> columns.table([columns.chunk([(failed, None)])]).column("error").to_pylist()
        ['x.png is empty']
        """
        import pyarrow as pa

        pairs = list(answers)
        rows = [self._cells(prediction) for prediction, _ in pairs]
        schema = self.schema()
        columns = [
            self._vectors([vector for _, vector in pairs], field.type)
            if field.name == "embedding"
            else pa.array([row[field.name] for row in rows], field.type)
            for field in schema
        ]
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, schema) as writer:
            writer.write_batch(pa.record_batch(columns, schema=schema))
        return sink.getvalue().to_pybytes()

    def _cells(self, prediction: Prediction) -> dict[str, object]:
        abnormal, ood, findings = prediction.abnormal, prediction.ood, prediction.findings
        probabilities = probabilities_of(prediction)
        return {
            "file": prediction.file,
            "prediction": prediction.prediction,
            "abstained": prediction.abstained,
            "reason": prediction.reason,
            "abnormal_probability": abnormal.probability if abnormal else None,
            "abnormal_threshold": abnormal.threshold if abnormal else None,
            "abnormal_positive": abnormal.positive if abnormal else None,
            **{f"probability_{name}": probabilities.get(name) for name in self.classes},
            "findings": [name for name, each in findings.items() if each.positive] if findings else None,
            "prediction_set": prediction.prediction_set,
            "ood_p_value": ood.p_value if ood else None,
            "ood_flagged": ood.flagged if ood else None,
            "error": prediction.error,
        }

    def _vectors(self, vectors: Sequence[np.ndarray | None], kind: "pa.DataType") -> "pa.Array":
        import pyarrow as pa

        with np.errstate(over="ignore"):
            rounded = [None if vector is None else vector.astype(str(self.embedding)) for vector in vectors]
        present = [vector for vector in rounded if vector is not None]
        if not all(np.isfinite(vector).all() for vector in present):
            raise ModelError(
                f"an embedding holds numbers that {self.embedding} can't hold", "use --embedding float32"
            )
        return pa.array(rounded, kind)

    def table(self, chunks: Sequence[bytes]) -> "pa.Table":
        """Chunks, in order, as one table.

        >>> Columns(("normal", "pneumonia"), None).table([]).num_rows
        0
        """
        import pyarrow as pa

        if not chunks:
            return self.schema().empty_table()
        return pa.concat_tables([pa.ipc.open_stream(pa.py_buffer(chunk)).read_all() for chunk in chunks])

    def parquet(self, table: "pa.Table", facts: Mapping[str, object]) -> bytes:
        """The bytes of a Parquet file with checksums. `facts`: kept under KEY.

        >>> columns = Columns(("normal", "pneumonia"), None)
        >>> columns.parquet(columns.table([]), {"part": 0})[:4]
        b'PAR1'
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = pa.BufferOutputStream()
        words = [name for name in table.column_names if name not in ("file", "embedding")]
        pq.write_table(
            table.replace_schema_metadata({KEY: json.dumps(facts).encode()}),
            sink,
            compression="zstd",
            use_dictionary=words,  # pyright: ignore[reportArgumentType]
            write_page_checksum=True,
        )
        return sink.getvalue().to_pybytes()
