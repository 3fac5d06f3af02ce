"""Settings of the embedding stage."""

from typing import Literal

from pydantic import Field

from hilum.config import Config


class EmbeddingConfig(Config):
    """What is done with the vectors of a trained model; see hilum.embedding.

    `select`: transform, distance, weights and k by patient-disjoint cross-validation on train, instead of
    those given here. `map_seeds`: further seeds per map, to see how stable it is.
    """

    layer: str = "embedding"
    precision: Literal["float16", "float32"] = "float16"
    k: int = Field(default=7, ge=1)
    transform: Literal["none", "standardize", "pca", "lda"] = "standardize"
    distance: Literal["euclidean", "cosine"] = "cosine"
    weights: Literal["uniform", "distance"] = "distance"
    select: bool = False
    maps: tuple[Literal["pca", "lda", "tsne", "umap"], ...] = ("pca", "lda", "tsne")
    perplexity: float = Field(default=30.0, gt=1)
    exaggeration: float = Field(default=1.0, ge=1, description="t-SNE: kept after the early phase")
    iterations: int = Field(default=750, ge=50, description="t-SNE, after an early phase of a third as many")
    map_seeds: int = Field(default=0, ge=0)
    baselines: tuple[Literal["raw_pixels", "hog", "random_network"], ...] = (
        "raw_pixels",
        "hog",
        "random_network",
    )
    suspects: bool = True
    seed: int = Field(default=0, ge=0)
