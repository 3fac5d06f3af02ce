"""Encoded: an image file whose bytes lie in an archive, a table or an object store, and not in a file of their own."""

from collections.abc import Callable
from dataclasses import dataclass

from hilum.data.decode import UnreadableImage
from hilum.data.dicom.header import NotRead, dataset_of, is_dicom, quiet_pydicom
from hilum.data.dicom.kinds import is_frontal, view_of
from hilum.data.dicom.options import views_are_kept


@dataclass(frozen=True)
class Encoded:
    """The bytes of an image file. `name`: how answers and error sentences call it; `read`: gives the bytes; it is
    called in the thread that decodes, so that slow reading is done ahead.

    >>> Encoded("a.tar/b.png", lambda: b"").data()
    b''
    """

    name: str
    read: Callable[[], bytes]

    def data(self) -> bytes:
        """The bytes. UnreadableImage with what the file system says, and for a DICOM whose header says that it is
        lateral or oblique (`hilum.data.decode.check_frontal`).

        >>> def gone() -> bytes:
        ...     raise FileNotFoundError(2, "No such file")
        >>> Encoded("b.png", gone).data()
        Traceback (most recent call last):
        hilum.data.decode.UnreadableImage: b.png is no readable image (no such file); replace the file or take it out
        """
        try:
            data = self.read()
        except OSError as error:
            raise UnreadableImage(self.name, (error.strerror or str(error)).lower()) from None
        if is_dicom(data) and not views_are_kept():
            self._refuse_lateral(data)
        return data

    def _refuse_lateral(self, data: bytes) -> None:
        try:
            with quiet_pydicom():
                view = view_of(dataset_of(data, pixels=False))
        except NotRead:
            return
        if not is_frontal(view):
            raise UnreadableImage(self.name, f"a lateral or oblique view ({view}), not a frontal one")
