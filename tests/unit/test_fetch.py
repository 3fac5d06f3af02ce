"""Fetching: kagglehub is stood in for, because tests use no network."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from hilum.data.fetch import PUBLIC_SET, fetch
from hilum.errors import DataError


def test_returns_the_folder_that_kagglehub_names(tmp_path: Path, monkeypatch) -> None:
    asked = []
    hub = SimpleNamespace(dataset_download=lambda name: (asked.append(name), str(tmp_path))[1])
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    assert fetch() == tmp_path
    assert asked == [PUBLIC_SET]


def test_without_kagglehub_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(DataError) as caught:
        fetch()
    assert "kagglehub, which is not installed; run: pip install 'hilum[fetch]'" in str(caught.value)
    assert "doi 10.17632/rscbjbr9sj.2" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "said"),
    [(OSError("no route\nto host"), "(no route)"), (RuntimeError(), "(RuntimeError)")],
)
def test_a_failed_download_is_one_sentence_with_the_way_by_hand(
    monkeypatch, error: Exception, said: str
) -> None:
    def fail(name: str) -> str:
        raise error

    monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=fail))
    with pytest.raises(DataError) as caught:
        fetch("some/set")
    assert f"some/set could not be fetched from Kaggle {said}; download the archive by hand" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)
