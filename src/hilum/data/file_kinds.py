"""Which files count as images by their names, and which belong to the system; names that can be printed. No table
is needed for this."""

IMAGE_SUFFIXES = (".bmp", ".dcm", ".dicom", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Files with other endings are not read; the sources count them in the notes."""

_JUNK = {
    "__macosx",
    "thumbs.db",
    "desktop.ini",
    "ehthumbs.db",
    "$recycle.bin",
    "@eadir",
    "icon\r",
    "lost+found",
}


def is_junk(name: str) -> bool:
    """Whether a file or folder is of the system and not of the user: hidden files and what Windows, macOS and
    network disks leave beside images.

    >>> is_junk("._a.png"), is_junk("__MACOSX"), is_junk("Thumbs.db"), is_junk("a.png")
    (True, True, True, False)
    """
    return name.startswith(".") or name.lower() in _JUNK


def readable_name(name: str) -> str:
    """A name with bytes that are no UTF-8 written as escapes, so that it can be printed and stored.

    >>> readable_name("caf\\udce9.png")
    'caf\\\\udce9.png'
    """
    return name.encode("utf-8", "backslashreplace").decode()
