"""Counts for Prometheus: requests by route, images by outcome, batches, places, replaced processes. No names."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """The counters of one service.

    >>> metrics = Metrics()
    >>> metrics.images.labels("predicted").inc()
    >>> 'hilum_images_total{outcome="predicted"} 1.0' in metrics.text().decode()
    True
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "hilum_requests", "Requests.", ("route", "method", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "hilum_request_seconds", "Time to an answer.", ("route",), registry=self.registry, buckets=SECONDS
        )
        self.images = Counter(
            "hilum_images", "Images: predicted, abstained or refused.", ("outcome",), registry=self.registry
        )
        self.instances = Counter(
            "hilum_dicom_instances",
            "Instances that came by C-STORE, by status of HTTP.",
            ("status",),
            registry=self.registry,
        )
        self.batches = Histogram(
            "hilum_batch_images", "Images of a batch.", registry=self.registry, buckets=SIZES
        )
        self.replaced = Counter(
            "hilum_decoders_replaced",
            "Decoding processes that were ended and replaced.",
            registry=self.registry,
        )
        self.places = Gauge(
            "hilum_places_used", "Images accepted and not yet answered.", registry=self.registry
        )
        self.memory = Gauge("hilum_upload_bytes", "Bytes of uploads in memory.", registry=self.registry)
        self.jobs = Gauge("hilum_jobs", "Slow explanations that wait or run.", registry=self.registry)

    def text(self) -> bytes:
        """The page /metrics, in the text format of Prometheus.

        >>> b"hilum_jobs 0.0" in Metrics().text()
        True
        """
        return generate_latest(self.registry)
