"""Sex, age and site of a person as tables write them, in the words of cases: M, F or O; years; a name."""

import re

OLDEST = 90
"""Years; higher ages are written as this one, since few people reach them."""

_IMPOSSIBLE = 120
_UNITS = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}
_SEXES = {"F": "F", "FEMALE": "F", "WOMAN": "F", "M": "M", "MALE": "M", "MAN": "M", "O": "O", "OTHER": "O"}


def sex_of(words: str) -> str:
    """M, F or O; empty where the words say nothing of it.

    >>> sex_of("Female"), sex_of("m"), sex_of("Unknown")
    ('F', 'M', '')
    """
    return _SEXES.get(words.strip().upper(), "")


def age_of(words: str) -> str:
    """Years with three digits, OLDEST for more; empty where the words are no age of a person. A number alone, and one
    with Y, are years; D, W and M are days, weeks and months, as DICOM writes them.

    >>> age_of("58"), age_of("018M"), age_of("102Y"), age_of("414"), age_of("adult")
    ('58', '1.5', '90', '', '')
    """
    match = re.fullmatch(r"\s*(\d{1,3}(?:\.\d+)?)\s*([DWMY]?)\w*\s*", words.upper())
    if match is None:
        return ""
    years = float(match[1]) / _UNITS[match[2] or "Y"]
    return "" if years > _IMPOSSIBLE else f"{min(years, OLDEST):.3g}"


def person(sex: str = "", age: str = "", site: str = "") -> dict[str, str]:
    """The columns of a row of cases, those that say something.

    >>> person("Male", "58"), person()
    ({'sex': 'M', 'age': '58'}, {})
    """
    columns = {"sex": sex_of(sex), "age": age_of(age), "site": site.strip()}
    return {name: value for name, value in columns.items() if value}
