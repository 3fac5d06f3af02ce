"""The service on a DICOM network: answers as structured reports, taken and sent by C-STORE."""
