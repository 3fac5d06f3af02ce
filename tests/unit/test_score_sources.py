"""The kinds of input of hilum score: the same images, in whatever they lie, get the same rows."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

pytest.importorskip("pyarrow", reason="hilum score needs pyarrow: pip install 'hilum[score]'")

import pyarrow as pa
import pyarrow.parquet as pq

from hilum.errors import DataError
from hilum.scale import sources_store
from hilum.scale.score_table import Columns
from hilum.scale.score_worker import Chunk, Scorer, Settings
from hilum.scale.sources import Source
from hilum.scale.sources_listing import Listing
from hilum.scale.sources_read import images_of
from tests import dicom_files
from tests.unit.score_worlds import CLASSES, encoded, tiny_model, written

N = 40
Place = Callable[[Path, dict[str, bytes]], str]


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """Images, one of them of 0 bytes and one that is no image."""
    return {**encoded(N), "0003.png": b"", "0004.png": b"no image"}


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    return Scorer(Settings(tiny_model(tmp_path_factory.mktemp("model")), "cpu", None, None))


def folder(place: Path, files: dict[str, bytes]) -> str:
    return str(written(place / "images", files))


def text_list(place: Path, files: dict[str, bytes]) -> str:
    written(place, files)
    (place / "list.txt").write_text("\n".join([*files, ""]))
    return str(place / "list.txt")


def csv_list(place: Path, files: dict[str, bytes]) -> str:
    written(place / "deep", files)
    rows = [f"{number},deep/{name}" for number, name in enumerate(files)]
    (place / "list.csv").write_text("\n".join(["id,file", *rows]), encoding="utf-8-sig")
    return str(place / "list.csv")


def tar(place: Path, files: dict[str, bytes]) -> str:
    """A WebDataset shard: other members of a sample lie beside its image."""
    with tarfile.open(place / "shard-0.tar", "w") as archive:
        for name, data in files.items():
            for member, content in ((name, data), (f"{name[:-4]}.json", b"{}")):
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return str(place / "shard-0.tar")


def shards(place: Path, files: dict[str, bytes]) -> str:
    """A pattern of two shards."""
    names = list(files)
    for number, part in enumerate((names[:15], names[15:])):
        Path(tar(place, {name: files[name] for name in part})).rename(place / f"part-{number}.tar")
    return str(place / "part-*.tar")


def zipped(place: Path, files: dict[str, bytes]) -> str:
    with zipfile.ZipFile(place / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._0000.png", b"junk")
        for name, data in files.items():
            archive.writestr(name, data)
    return str(place / "all.zip")


def bytes_table(place: Path, files: dict[str, bytes]) -> str:
    pq.write_table(pa.table({"image": list(files.values())}), place / "all.parquet", row_group_size=17)
    return str(place / "all.parquet")


def struct_table(place: Path, files: dict[str, bytes]) -> str:
    """As the datasets of Hugging Face write images."""
    cells = [{"bytes": data, "path": name} for name, data in files.items()]
    pq.write_table(pa.table({"image": cells}), place / "all.parquet")
    return str(place / "all.parquet")


def path_table(place: Path, files: dict[str, bytes]) -> str:
    written(place, files)
    pq.write_table(pa.table({"path": list(files), "label": [0] * len(files)}), place / "all.parquet")
    return str(place / "all.parquet")


def memory_folder(place: Path, files: dict[str, bytes]) -> str:
    system = fsspec.filesystem("memory")
    for name, data in files.items():
        system.pipe(f"/{place.name}/images/{name}", data)
    return f"memory://{place.name}/images"


def memory_zip_and_tar(place: Path, files: dict[str, bytes]) -> str:
    """A folder of an object store with an archive of each kind."""
    names, system = list(files), fsspec.filesystem("memory")
    first, last = {name: files[name] for name in names[:9]}, {name: files[name] for name in names[9:]}
    system.pipe(f"/{place.name}/all/a.tar", Path(tar(place, first)).read_bytes())
    system.pipe(f"/{place.name}/all/b.zip", Path(zipped(place, last)).read_bytes())
    system.pipe(f"/{place.name}/all/notes.md", b"notes")
    return f"memory://{place.name}/all"


def memory_table(place: Path, files: dict[str, bytes]) -> str:
    fsspec.filesystem("memory").pipe(f"/{place.name}/a.pq", Path(bytes_table(place, files)).read_bytes())
    return f"memory://{place.name}/a.pq"


KINDS = (
    *(folder, text_list, csv_list, tar, shards, zipped, bytes_table, struct_table, path_table),
    *(memory_folder, memory_zip_and_tar, memory_table),
)


def scored(scorer: Scorer, source: Source, **chunk: object) -> list[dict]:
    refs = list(source.refs())
    rows = scorer.score(Chunk(0, refs, **chunk), lambda done: None)  # type: ignore[arg-type]
    return Columns(CLASSES, None).table([rows]).to_pylist()


@pytest.fixture(scope="module")
def plain(scorer: Scorer, files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    return scored(scorer, Source(folder(tmp_path_factory.mktemp("plain"), files)))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_all_kinds_of_input_give_the_same_rows(
    kind: Place, scorer: Scorer, files: dict[str, bytes], plain: list[dict], tmp_path: Path
) -> None:
    rows = scored(scorer, Source(kind(tmp_path, files)))
    assert len({row["file"] for row in rows}) == len(files)
    without = [
        [{name: value for name, value in row.items() if name not in ("file", "error")} for row in table]
        for table in (rows, plain)
    ]
    assert without[0] == without[1]
    bad = [row["error"].removeprefix(row["file"]) for row in rows if row["error"]]
    assert bad == [
        " is no readable image (empty); replace the file or take it out",
        " is no readable image (not an image: neither JPEG nor PNG nor TIFF nor BMP nor WebP);"
        " replace the file or take it out",
    ]


def test_a_tree_of_dicom_with_and_without_endings(scorer: Scorer, tmp_path: Path) -> None:
    picture = dicom_files.picture(96, 96)
    for name in ("a/1.2.840.1", "a/IM0", "b/c.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        dicom_files.write(tmp_path / name, picture)
    dicom_files.write(tmp_path / "b/side.dcm", picture, ViewPosition="LL")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    rows = scored(scorer, Source(str(tmp_path)))
    assert [row["file"] for row in rows] == ["a/1.2.840.1", "a/IM0", "b/c.dcm", "b/side.dcm"]
    assert [row["error"] for row in rows[:3]] == [None] * 3
    assert "a lateral or oblique view (LL)" in rows[3]["error"]
    assert len({row["probability_virus"] for row in rows[:3]}) == 1


def test_left_out_and_single_images_keep_their_places(
    scorer: Scorer, files: dict[str, bytes], plain: list[dict], tmp_path: Path
) -> None:
    source = Source(bytes_table(tmp_path, files))
    rows = scored(scorer, source, left_out={0: "left out", 20: "left out"}, singly=True)
    assert [at for at, row in enumerate(rows) if row["error"] == "left out"] == [0, 20]
    others = [at for at, row in enumerate(plain) if at not in (0, 20) and not row["error"]]
    assert len(others) == N - 4
    assert [rows[at]["probability_virus"] for at in others] == pytest.approx(
        [plain[at]["probability_virus"] for at in others], abs=2e-6
    )


def test_hidden_files_and_other_files_are_no_images(tmp_path: Path) -> None:
    written(tmp_path, {"a.png": b"1", ".b.png": b"2", "__MACOSX/c.png": b"3", "d.json": b"4", "README": b"5"})
    source = Source(str(tmp_path))
    assert [ref.file for ref in source.refs()] == ["a.png"]
    assert source.skipped == {".json": 1, "no suffix": 1}


def test_an_image_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.png\nb.png\na.png\n")
    with pytest.raises(
        DataError, match=r"a.png stands twice in the source, as image 1 and 3; take one of them out"
    ):
        Listing.of(Source(str(tmp_path / "list.txt")).refs(), 2, tmp_path, lambda done, total: None)


def _cut_tar(place: Path) -> str:
    path = Path(tar(place, encoded(3)))
    path.write_bytes(path.read_bytes()[:-12_000])
    return str(path)


def _cut_zip(place: Path) -> str:
    path = Path(zipped(place, encoded(3)))
    path.write_bytes(path.read_bytes()[:-30])
    return str(path)


def _cut_table(place: Path) -> str:
    path = Path(bytes_table(place, encoded(3)))
    path.write_bytes(path.read_bytes()[:-4])
    return str(path)


def _made(name: str, data: bytes) -> Callable[[Path], str]:
    def make(place: Path) -> str:
        (place / name).write_bytes(data)
        return str(place / name)

    return make


def _without_column(place: Path) -> str:
    pq.write_table(pa.table({"label": [1]}), place / "a.parquet")
    return str(place / "a.parquet")


def _numbers(place: Path) -> str:
    pq.write_table(pa.table({"image": [1]}), place / "a.parquet")
    return str(place / "a.parquet")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_cut_tar, r"shard-0.tar can't be listed \(.*\); copy it again, or take it out"),
        (_cut_zip, r"all.zip can't be listed \(File is not a zip file\)"),
        (_cut_table, r"all.parquet can't be read \(Parquet magic bytes not found"),
        (_made("a.tar", b""), "a.tar can't be listed"),
        (_made("a.tar.gz", b"1"), "compressed as a whole, so that no image in it can be read by itself"),
        (_made("a.doc", b"1"), "a.doc holds no images: it is no folder"),
        (
            _made("a.csv", b"path\nb.png\n"),
            "has no column 'file'; its columns are: path; name one with --column",
        ),
        (_made("a.txt", b"\xff\xfe\xfa"), "a.txt can't be read .* write it as UTF-8"),
        (_without_column, r"has no column of images \(image, bytes, file, path\); its columns are: label"),
        (_numbers, "column 'image' of .* holds int64, neither bytes nor paths"),
        (lambda place: f"{place}/*.tar", r"nothing fits .*\*.tar; check the pattern"),
        (lambda place: "nowhere://bucket/a", "locations that begin with nowhere:// can't be read"),
    ],
)
def test_sources_that_cannot_be_listed(make: Callable[[Path], str], words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        list(Source(make(tmp_path)).refs())


def test_a_column_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,scan\n1,b.png\n2,s3://far/c.png\n")
    refs = list(Source(str(tmp_path / "a.csv"), "scan").refs())
    assert [ref.home for ref in refs] == [f"{tmp_path}/b.png", "s3://far/c.png"]


def test_an_archive_that_changes_after_listing_gives_errors_and_no_end(tmp_path: Path) -> None:
    refs = [
        ref
        for make in (_whole_tar, _whole_zip, _whole_table)
        for ref in Source(make(tmp_path / make.__name__)).refs()
    ]
    for ref in refs:
        Path(ref.home).write_bytes(b"gone")
    assert len(refs) == 9
    for image in images_of(refs):
        with pytest.raises(DataError):
            image.data()


def _whole_tar(place: Path) -> str:
    place.mkdir()
    return tar(place, encoded(3))


def _whole_zip(place: Path) -> str:
    place.mkdir()
    return zipped(place, encoded(3))


def _whole_table(place: Path) -> str:
    place.mkdir()
    return bytes_table(place, encoded(3))


def test_a_read_from_an_object_store_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def unreliable(location: str, start: int, size: int | None) -> bytes:
        tries.append(location)
        if len(tries) < sources_store.TRIES:
            raise OSError("connection reset")
        return b"data"

    monkeypatch.setattr(sources_store, "_read", unreliable)
    monkeypatch.setattr(sources_store, "PAUSE", 0)
    assert sources_store.read("s3://bucket/a.png") == b"data"
    assert len(tries) == sources_store.TRIES
    tries.clear()
    with pytest.raises(OSError, match="connection reset"):
        sources_store.read("local.png")
    assert len(tries) == 1
