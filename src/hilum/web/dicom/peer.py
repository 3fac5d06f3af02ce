"""Sends reports to a peer by C-STORE."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hilum.data.dicom.header import quiet_pydicom
from hilum.web.service import Refusal
from hilum.web.settings import Peer

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SECONDS = 20
"""How long a peer may take to connect, and to answer."""

NOT_DELIVERED = 502


def deliver(reports: "Sequence[Dataset]", peer: Peer, title: str) -> None:
    """Sends reports in one association. Refusal when the peer can't be reached, or does not take one of them.

    `title`: our own.

    >>> deliver([], Peer("127.0.0.1", 1, "NOBODY"), "HILUM")
    """
    from pynetdicom import AE
    from pynetdicom.sop_class import EnhancedSRStorage  # pyright: ignore[reportAttributeAccessIssue]

    if not reports:
        return
    entity = AE(title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = SECONDS
    entity.add_requested_context(EnhancedSRStorage)
    association = entity.associate(peer.host, peer.port, ae_title=peer.title)
    if not association.is_established:
        reason = "refuses the association" if association.is_rejected else "can't be reached"
        raise Refusal(f"the report could not be sent: {peer.title} {reason}; check --dicom-to", NOT_DELIVERED)
    try:
        for report in reports:
            _send(association, report, peer)
    finally:
        association.release()


def _send(association, report: "Dataset", peer: Peer) -> None:
    try:
        with quiet_pydicom():
            status = association.send_c_store(report).get("Status")
    except (ValueError, RuntimeError):  # no accepted context, or the association has ended
        status = None
    if status is None:
        raise Refusal(f"the report was not taken: {peer.title} gave no status; check its log", NOT_DELIVERED)
    if status != 0 and status >> 12 != 0xB:  # Bxxx: stored, with a warning
        raise Refusal(
            f"the report was not taken: {peer.title} answered {status:04X}; check its log", NOT_DELIVERED
        )
