"""A section of a plug-in: images per patient."""

from hilum.report.section import Section
from hilum.run import Run


def make(run: Run) -> Section | None:
    """How many patients have one image, two images, and so on; None without cases."""
    if not run.cases_file.exists():
        return None
    images = run.cases().table["patient"].value_counts().value_counts().sort_index()
    return Section("patients", "Images per patient", "patients/template.html", {"rows": list(images.items())})
