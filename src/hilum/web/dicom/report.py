"""A prediction as a DICOM structured report (Enhanced SR, template TID 1500) in the study of its image."""

import io
import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import hilum
from hilum.data.dicom.header import quiet_pydicom
from hilum.errors import HilumError
from hilum.inference.prediction import Abnormal, Finding, ModelName, Prediction

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept, Measurement, ObservationContext, QualitativeEvaluation
    from pydicom.dataset import Dataset

NOTICE = "Research use only, not a medical device"

SCHEME = "99HILUM"
"""Coding scheme of what DICOM and SNOMED CT have no code for: the statements of a model."""

UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
"""What a report needs of the header of its image."""

IDENTITY = (
    *UIDS,
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "ReferringPhysicianName",
)
"""What it carries of it, so that it belongs to the patient and the study."""


def check_highdicom() -> None:
    """HilumError when the extra is not installed.

    >>> check_highdicom()
    """
    try:
        import highdicom  # noqa: F401
    except ModuleNotFoundError as error:
        raise HilumError(
            f"DICOM reports need {error.name}, which is not installed",
            "install it: pip install 'hilum[dicomnet]'",
        ) from None


def report_of(prediction: Prediction, identity: Mapping[str, str]) -> "Dataset":
    """The report on one image: probabilities (0 to 1) as measurements, the class and the other decisions as qualitative
    evaluations, the reason of an abstention and the notice as comments, in one group of TID 1501 that refers to
    the image. `identity`: values of the image's header by keyword, see IDENTITY; a value may be missing, a UID not.

    The template is DICOM PS3.16 TID 1500; it is extensible, and the comments extend it.

    >>> from hilum.web.described import EXAMPLE
    >>> report = report_of(Prediction.model_validate(EXAMPLE), dict.fromkeys(UIDS, "1.2.840.10008.5.1.4.1.1.1"))
    >>> report.Modality, report.StudyInstanceUID, report.ContentTemplateSequence[0].TemplateIdentifier
    ('SR', '1.2.840.10008.5.1.4.1.1.1', '1500')
    """
    from highdicom.sr import CodedConcept, EnhancedSR, MeasurementReport
    from pydicom.uid import generate_uid

    with quiet_pydicom():
        evidence = _evidence(identity)
        content = MeasurementReport(
            observation_context=_observer(prediction.model),
            procedure_reported=CodedConcept("399208008", "SCT", "Plain chest X-ray"),
            imaging_measurements=[_group(prediction, evidence)],
        )
        report = EnhancedSR(
            evidence=[evidence],
            content=content[0],
            series_instance_uid=generate_uid(prefix=None),
            series_number=1,
            sop_instance_uid=generate_uid(prefix=None),
            instance_number=1,
            manufacturer="hilum",
            manufacturer_model_name="hilum",
            software_versions=hilum.__version__,
            series_description=NOTICE,
            is_complete=True,
        )
    return report


def _evidence(identity: Mapping[str, str]) -> "Dataset":
    """What the report is made from: the header of the image, without what it does not need."""
    from pydicom.dataset import Dataset

    evidence = Dataset()
    evidence.SpecificCharacterSet = "ISO_IR 192"
    for keyword in IDENTITY:
        setattr(evidence, keyword, _fitting(keyword, identity.get(keyword, "")))
    for keyword in ("IssuerOfPatientID", "StudyDescription"):
        if not identity.get(keyword):
            delattr(evidence, keyword)
    return evidence


def _fitting(keyword: str, value: str) -> str:
    """A date, a time or a sex that is none becomes empty; anything else stays as it is."""
    from pydicom.valuerep import DA, TM

    if keyword == "PatientSex" and value not in ("M", "F", "O"):
        return ""
    try:
        for end, kind in (("Date", DA), ("Time", TM)):
            if keyword.endswith(end):
                kind(value)
    except ValueError:
        return ""
    return value


def _observer(model: ModelName) -> "ObservationContext":
    """The model as the device that observes. Its UID is made from the digest: the same weights, the same UID."""
    from highdicom.sr import DeviceObserverIdentifyingAttributes, ObservationContext, ObserverContext
    from pydicom.sr.codedict import codes

    number = uuid.uuid5(uuid.NAMESPACE_OID, f"hilum {model.name} {model.digest}").int
    device = DeviceObserverIdentifyingAttributes(
        uid=f"2.25.{number}",
        name="hilum",
        manufacturer_name="hilum",
        model_name=model.name,
        serial_number=model.digest,
    )
    context = ObserverContext(codes.DCM.Device, device)
    return ObservationContext(observer_device_context=context)


def _group(prediction: Prediction, evidence: "Dataset"):
    from highdicom.sr import (
        AlgorithmIdentification,
        MeasurementsAndQualitativeEvaluations,
        RelationshipTypeValues,
        SourceImageForMeasurementGroup,
        TextContentItem,
        TrackingIdentifier,
    )
    from pydicom.sr.codedict import codes
    from pydicom.uid import generate_uid

    model = prediction.model
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(generate_uid(prefix=None), "image"),
        algorithm_id=AlgorithmIdentification(
            name=f"hilum {model.name}",
            version=hilum.__version__,
            parameters=[f"weights {model.digest}"] if model.digest else None,
        ),
        source_images=[SourceImageForMeasurementGroup(evidence.SOPClassUID, evidence.SOPInstanceUID)],
        measurements=list(_measurements(prediction)),
        qualitative_evaluations=list(_evaluations(prediction)),
    )
    for sentence in (prediction.reason, NOTICE):
        if sentence:
            group[0].ContentSequence.append(
                TextContentItem(codes.DCM.Comment, sentence, RelationshipTypeValues.CONTAINS)
            )
    return group


def _measurements(prediction: Prediction) -> "Iterator[Measurement]":
    """Every number of the answer; all of them are shares of 1 (UCUM unit "1")."""
    for name, value in (prediction.probabilities or {}).items():
        yield _number(f"P:{name}", f"Calibrated probability of {name}", value)
    for name, decision in _decisions(prediction):
        yield _number(f"P:{name}", f"Calibrated probability of {name}", decision.probability)
        yield _number(f"T:{name}", f"Operating point of {name}", decision.threshold)
    if prediction.coverage is not None:
        yield _number("COVERAGE", "Nominal coverage of the prediction set", prediction.coverage)
    if prediction.ood is not None:
        yield _number("OOD-P", "Out-of-distribution p-value", prediction.ood.p_value)


def _evaluations(prediction: Prediction) -> "Iterator[QualitativeEvaluation]":
    """Every decision of the answer."""
    from highdicom.sr import QualitativeEvaluation
    from pydicom.sr.codedict import codes

    def yes_or_no(name: "CodedConcept", value: bool) -> QualitativeEvaluation:
        return QualitativeEvaluation(name, codes.SCT.Yes if value else codes.SCT.No)

    if prediction.findings is None:
        predicted = _code("ABSTAINED", "Abstained") if prediction.prediction is None else None
        predicted = predicted or _class(str(prediction.prediction))
        yield QualitativeEvaluation(_code("PREDICTED", "Predicted class"), predicted)
    for name, decision in _decisions(prediction):
        yield yes_or_no(_code(f"D:{name}", f"At or above the operating point of {name}"), decision.positive)
    for name in prediction.prediction_set or ():
        yield QualitativeEvaluation(_code("SET", "Member of the prediction set"), _class(name))
    if prediction.ood is not None:
        yield yes_or_no(_code("OOD", "Out-of-distribution"), prediction.ood.flagged)
    yield yes_or_no(_code("ABSTENTION", "The model abstains"), prediction.abstained)


def _decisions(prediction: Prediction) -> Iterator[tuple[str, Abnormal | Finding]]:
    if prediction.abnormal is not None:
        yield "abnormal", prediction.abnormal
    yield from (prediction.findings or {}).items()


def _number(value: str, meaning: str, number: float) -> "Measurement":
    from highdicom.sr import CodedConcept, Measurement

    return Measurement(_code(value, meaning), number, CodedConcept("1", "UCUM", "no units"))


def _class(name: str) -> "CodedConcept":
    return _code(f"C:{name}", name)


def _code(value: str, meaning: str) -> "CodedConcept":
    """A code of our own; DICOM allows 64 characters for its meaning."""
    from highdicom.sr import CodedConcept

    return CodedConcept(value, SCHEME, meaning[:64])


def as_file(report: "Dataset") -> bytes:
    """A report as the bytes of a DICOM file.

    >>> from hilum.web.described import EXAMPLE
    >>> report = report_of(Prediction.model_validate(EXAMPLE), dict.fromkeys(UIDS, "1.2.840.10008.5.1.4.1.1.1"))
    >>> as_file(report)[128:132]
    b'DICM'
    """
    stream = io.BytesIO()
    with quiet_pydicom():
        report.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
