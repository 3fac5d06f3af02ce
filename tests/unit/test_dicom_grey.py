"""Grey levels of DICOM against pydicom's own path and dcmtk's dcmj2pnm: at most one level apart."""

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from hilum.data.decode import read_grey
from hilum.data.images import to_uint8
from tests.dicom_files import dataset_of, picture, write

VALUES = picture()
SIGNED = (VALUES.astype(int) - 2048).astype(np.int16)
WINDOW = {"WindowCenter": 1800, "WindowWidth": 2500}


def lut(first: int, entries: np.ndarray, bits: int) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) % 65536, first, bits])
    item.LUTExplanation = "curve"
    item.add_new("LUTData", "OW", entries.astype("<u2").tobytes())
    return item


CURVE = np.rint(4095 * np.linspace(0, 1, 4096) ** 1.7)

# name -> (values, bits, header, what dcmj2pnm is told)
WINDOWED: dict[str, tuple[np.ndarray, int, dict[str, object], list[str]]] = {
    "linear": (VALUES, 12, WINDOW, ["+Wi", "1"]),
    "monochrome 1": (VALUES, 12, {**WINDOW, "PhotometricInterpretation": "MONOCHROME1"}, ["+Wi", "1"]),
    "several windows": (VALUES, 12, {"WindowCenter": [900, 2000], "WindowWidth": [700, 300]}, ["+Wi", "1"]),
    "sigmoid": (VALUES, 12, {**WINDOW, "VOILUTFunction": "SIGMOID"}, ["+Wi", "1"]),
    "linear exact": (VALUES, 12, {**WINDOW, "VOILUTFunction": "LINEAR_EXACT"}, []),
    "rescale": (
        VALUES,
        12,
        {"RescaleSlope": "2.5", "RescaleIntercept": "-1000", "WindowCenter": 3000, "WindowWidth": 4000},
        ["+Wi", "1"],
    ),
    "signed": (SIGNED, 12, {"WindowCenter": -100, "WindowWidth": 2500}, ["+Wi", "1"]),
    "8 bits": ((VALUES >> 4).astype(np.uint8), 8, {"WindowCenter": 120, "WindowWidth": 100}, ["+Wi", "1"]),
    "10 bits": (VALUES >> 2, 10, {"WindowCenter": 500, "WindowWidth": 600}, ["+Wi", "1"]),
    "16 bits": (VALUES * 16, 16, {"WindowCenter": 30000, "WindowWidth": 40000}, ["+Wi", "1"]),
    "left in its word": (VALUES << 4, 12, {**WINDOW, "HighBit": 15}, ["+Wi", "1"]),
    "VOI LUT": (VALUES, 12, {"VOILUTSequence": [lut(0, CURVE, 12)]}, ["+Wl", "1"]),
    "VOI LUT of a part": (VALUES, 12, {"VOILUTSequence": [lut(1000, CURVE[:2000], 12)]}, []),
    "modality LUT": (VALUES, 12, {"ModalityLUTSequence": [lut(0, CURVE, 16)], **WINDOW}, ["+Wi", "1"]),
}


def by_pydicom(path: Path) -> np.ndarray:
    """As pydicom's documentation says, then 0..255."""
    dataset = dcmread(path)
    values = dataset.pixel_array
    shown = apply_voi_lut(apply_modality_lut(values, dataset), dataset).astype(float)
    if "VOILUTSequence" in dataset:
        grey = shown / (2 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1) * 255
    else:
        slope, intercept = (
            float(dataset.get(f"Rescale{name}", x)) for name, x in (("Slope", 1), ("Intercept", 0))
        )
        bits = 16 if "ModalityLUTSequence" in dataset else dataset.BitsStored
        low = -(2 ** (bits - 1)) if dataset.PixelRepresentation else 0
        low, high = low * slope + intercept, (low + 2**bits - 1) * slope + intercept
        grey = (shown - low) / (high - low) * 255
    return 255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey


def by_dcmtk(path: Path, options: list[str]) -> np.ndarray:
    tool = shutil.which("dcmj2pnm")
    if tool is None:
        pytest.skip("dcmj2pnm is not installed: apt-get install dcmtk")
    out = path.with_suffix(".pgm")
    subprocess.run([tool, "-O", "+op", *options, str(path), str(out)], check=True, capture_output=True)
    shown = cv2.imread(str(out), cv2.IMREAD_UNCHANGED)
    return shown.astype(float)


@pytest.mark.parametrize(
    "name", [name for name in WINDOWED if name != "left in its word"]
)  # pydicom reads no HighBit
def test_at_most_one_grey_level_from_pydicom(name: str, tmp_path: Path) -> None:
    values, bits, header, _ = WINDOWED[name]
    path = write(tmp_path / "a.dcm", values, bits, **header)
    grey = read_grey(path)
    assert grey.dtype == np.uint8
    assert len(np.unique(grey)) > 40
    assert np.abs(grey - by_pydicom(path)).max() <= 1


@pytest.mark.parametrize("name", [name for name, (*_, options) in WINDOWED.items() if options])
def test_at_most_one_grey_level_from_dcmtk(name: str, tmp_path: Path) -> None:
    values, bits, header, options = WINDOWED[name]
    path = write(tmp_path / "a.dcm", values, bits, **header)
    assert np.abs(read_grey(path) - by_dcmtk(path, options)).max() <= 1


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_without_a_window_the_levels_in_use_are_stretched(kind: str, tmp_path: Path) -> None:
    spoiled = VALUES.copy()
    spoiled[3, 3] = 65535
    path = write(tmp_path / "a.dcm", spoiled, 16, PhotometricInterpretation=kind)
    expected = to_uint8(VALUES).astype(int) if kind == "MONOCHROME2" else 255 - to_uint8(VALUES).astype(int)
    apart = np.abs(read_grey(path) - expected)
    apart[3, 3] = 0
    assert apart.max() <= 1


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_the_full_range_is_that_of_dcmtk(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", VALUES, 12, PhotometricInterpretation=kind)
    assert np.abs(read_grey(path) - by_dcmtk(path, ["+Wm"])).max() <= 1


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_takes_no_grey_levels(kind: str, tmp_path: Path) -> None:
    padded = VALUES + np.uint16(8000)
    padded[:20] = 63536
    header = {"PhotometricInterpretation": kind, "PixelPaddingValue": 63536}
    single = read_grey(write(tmp_path / "a.dcm", padded, 16, **header))
    padded[:20] = np.arange(63000, 63000 + 72)
    header |= {"PixelPaddingValue": 63000, "PixelPaddingRangeLimit": 63100}
    several = read_grey(write(tmp_path / "b.dcm", padded, 16, **header))
    rest = to_uint8(VALUES[20:]).astype(int)
    for grey in (single, several):
        assert not grey[:20].any()
        assert np.abs(grey[20:] - (rest if kind == "MONOCHROME2" else 255 - rest)).max() <= 1


def test_a_signed_padding_value_written_without_its_sign(tmp_path: Path) -> None:
    padded = SIGNED.copy()
    padded[:20] = -2000
    dataset = dataset_of(padded, 16)
    dataset.add_new("PixelPaddingValue", "US", 65536 - 2000)
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert not read_grey(tmp_path / "a.dcm")[:20].any()


def test_bits_outside_those_stored_are_left_out(tmp_path: Path) -> None:
    overlay = VALUES | (np.uint16(1) << 13)
    plain = read_grey(write(tmp_path / "a.dcm", VALUES, 12, **WINDOW))
    np.testing.assert_array_equal(read_grey(write(tmp_path / "b.dcm", overlay, 12, **WINDOW)), plain)


@pytest.mark.parametrize(
    "window",
    [
        {"WindowCenter": 0, "WindowWidth": 1},
        {"WindowCenter": 60000, "WindowWidth": 100},
        {"WindowCenter": 100},
        {"WindowCenter": 100, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"},
        {**WINDOW, "VOILUTFunction": "SPLINE"},
    ],
)
def test_a_window_that_shows_nothing_is_left_out(window: dict[str, object], tmp_path: Path) -> None:
    grey = read_grey(write(tmp_path / "a.dcm", VALUES, 12, **window))
    assert np.abs(grey - to_uint8(VALUES).astype(int)).max() <= 1


COLOUR = np.dstack([VALUES >> 4, 255 - (VALUES >> 4), np.roll(VALUES >> 4, 9, axis=1)]).astype(np.uint8)
LUMA = COLOUR @ np.array([0.299, 0.587, 0.114])


def test_colour_becomes_luma_planar_or_not(tmp_path: Path) -> None:
    planar = np.ascontiguousarray(np.moveaxis(COLOUR, -1, 0))
    dataset = dataset_of(
        COLOUR, 8, PlanarConfiguration=1, SOPClassUID="1.2.840.10008.5.1.4.1.1.7", Modality="SC"
    )
    dataset.PixelData = planar.tobytes()
    dataset.save_as(tmp_path / "planar.dcm", enforce_file_format=True)
    write(tmp_path / "plain.dcm", COLOUR, 8)
    for name in ("planar", "plain"):
        assert np.abs(read_grey(tmp_path / f"{name}.dcm") - LUMA).max() <= 1


def test_ybr_gives_its_luminance(tmp_path: Path) -> None:
    ycc = cv2.cvtColor(COLOUR, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]
    full = write(tmp_path / "full.dcm", ycc, 8, PhotometricInterpretation="YBR_FULL")
    half = dataset_of(ycc, 8, PhotometricInterpretation="YBR_FULL_422")
    pairs = np.stack([ycc[:, ::2, 0], ycc[:, 1::2, 0], ycc[:, ::2, 1], ycc[:, ::2, 2]], axis=-1)
    half.PixelData = pairs.tobytes()
    half.save_as(tmp_path / "half.dcm", enforce_file_format=True)
    for path in (full, tmp_path / "half.dcm"):
        assert np.abs(read_grey(path) - LUMA).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_becomes_luma(bits: int, tmp_path: Path) -> None:
    index = (VALUES >> 4).astype(np.uint8)
    dataset = dataset_of(index, 8, PhotometricInterpretation="PALETTE COLOR")
    steps = np.arange(256)
    tables = {"Red": steps, "Green": 255 - steps, "Blue": steps[::-1] // 2}
    for name, entries in tables.items():
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, bits])
        stored = entries.astype("u1") if bits == 8 else (entries * 257).astype("<u2")
        setattr(dataset, f"{name}PaletteColorLookupTableData", stored.tobytes())
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    expected = 0.299 * tables["Red"] + 0.587 * tables["Green"] + 0.114 * tables["Blue"]
    assert np.abs(read_grey(tmp_path / "a.dcm") - expected[index]).max() <= 1


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", VALUES, 12, ImagerPixelSpacing=[0.2, 0.1])
    assert read_grey(path).shape == (120, 72)
    assert read_grey(write(tmp_path / "b.dcm", VALUES, 12, PixelAspectRatio=[1, 2])).shape == (60, 144)
    assert read_grey(write(tmp_path / "c.dcm", VALUES, 12, PixelSpacing=[0.1435, 0.1435])).shape == (60, 72)
