"""The embedding stage's figures as plain text for the terminal."""

from hilum.embedding.query import Answer
from hilum.evaluation.show import columns, figure
from hilum.run import Run


def embedding_table(run: Run) -> str:
    """Per task: classifiers, maps and retrieval, one line each."""
    lines: list[str] = []
    for name in run.tasks:
        figures = run.task(name).embeddings.figures()
        splits = [split for split in ("val", "test") if figures["cases"].get(split)]
        rows = [(name, *(f"accuracy, {split} (n={figures['cases'][split]})" for split in splits))]
        for row in figures["table"]:
            rows.append((row["title"], *(figure(row[split]["accuracy"]) for split in splits)))
        lines += [*columns(rows), ""]
        for one in figures["maps"].values():
            kept = ", ".join(
                f"{split} {one['knn_map'][split]:.3f} (space {one['knn_space'][split]:.3f})"
                for split in splits
            )
            stable = "" if one["stability"] is None else f", same neighbours again {one['stability']:.2f}"
            lines.append(
                f"map {one['title']}: trustworthiness {one['trustworthiness']:.3f}{stable};"
                f" kNN on the map {kept}"
            )
        for split, one in figures["retrieval"].items():
            at = ", ".join(f"at {k} {value:.3f}" for k, value in one["precision_at_k"].items())
            average, chance = one["mean_average_precision"], one["chance"]
            lines.append(f"retrieval {split}: precision {at}; mAP {average:.3f} (chance {chance:.3f})")
        lines.append("")
    return "\n".join(lines).rstrip()


def neighbors_text(answer: Answer) -> str:
    """The neighbours of one image as a table, with what the network itself says."""
    said = ", ".join(f"{name} {value:.3f}" for name, value in answer.probabilities.items())
    rows = [("rank", "case", "label", "patient", "distance")]
    for row in answer.neighbors.itertuples():
        rows.append(
            (str(row.rank), str(row.case_id), str(row.label), str(row.patient), f"{row.distance:.4g}")
        )
    k = len(answer.neighbors)
    return "\n".join(
        [
            *columns(rows),
            "",
            f"network: {said}",
            f"for comparison: a train case's farthest listed neighbour lies at {answer.typical:.4g} (median)",
            f"Research use only; not a medical device. {k} cases of train.",
        ]
    )
