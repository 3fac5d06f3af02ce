"""A tree of folders with radiographs: what lies in it, and which folder is the split, the class and the patient.

Nothing but names is read. `walk` finds the files and takes out masks; `place` gives each image its folders:

    [wrapper/] [split/] class/ [split/] [patient/ [study/ ...]] image      'images' and the like stand for nothing
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hilum.data.dicom.options import views_are_kept
from hilum.data.labels import HEALTHY, canonical_label, is_missing
from hilum.data.listing import is_excluded, listing
from hilum.data.patients import patient_of_folders
from hilum.data.roles import (
    base_of_mask,
    is_lateral,
    is_mask_folder,
    is_no_patient,
    is_plain,
    split_and_class,
    split_of,
)
from hilum.errors import DataError

_DEEPEST_CLASS = 4
_MOST_SHARED = 6
_FEWEST_SHARED = 3


@dataclass
class Tree:
    """Files below `root`, each kind in order of name. `masks` are images; `empty`: folders that hold nothing."""

    root: Path
    images: list[Path] = field(default_factory=list)
    masks: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    excluded: list[Path] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class Placed:
    """An image and the folders that say what it is. `patient`: empty where no folder names one."""

    path: Path
    split: str
    label: str
    patient: str
    rest: tuple[str, ...]


@dataclass
class Placing:
    """`images` with a class; `loose`: images outside all classes, or the topmost folder of many; `lateral` views;
    `unlabelled`: images in a class folder called NA or the like; `shared`: folders that every class has."""

    images: list[Placed] = field(default_factory=list)
    loose: list[Path] = field(default_factory=list)
    lateral: list[Path] = field(default_factory=list)
    unlabelled: list[Path] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)


def walk(root: Path, exclude: Sequence[str] = ()) -> Tree:
    """All files below a folder but those of the system; masks and what `exclude` names apart. DataError for a folder
    that can't be listed.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("images", "masks"):
    ...         Path(folder, "covid", name).mkdir(parents=True)
    ...         Path(folder, "covid", name, "1.png").touch()
    ...     tree = walk(Path(folder))
    >>> len(tree.images), len(tree.masks)
    (1, 1)
    """
    tree = Tree(root)
    _walk(root, tree, exclude, False, frozenset())
    return tree


def _walk(folder: Path, tree: Tree, exclude: Sequence[str], masks: bool, above: frozenset[Path]) -> None:
    real = folder.resolve()
    if real in above:  # a link to a folder above it
        return
    inside = listing(folder)
    if not (inside.folders or inside.images or inside.others):
        tree.empty.append(folder)

    def kept(paths: list[Path]) -> list[Path]:
        if not exclude:
            return paths
        out = [path for path in paths if is_excluded(path.relative_to(tree.root), exclude)]
        tree.excluded.extend(out)
        return [path for path in paths if path not in out]

    images = kept(inside.images)
    stems = {path.stem for path in images}
    apart = [path for path in images if masks or base_of_mask(path.stem) in stems]
    tree.masks.extend(apart)
    tree.images.extend(path for path in images if path not in set(apart))
    tree.others.extend(kept(inside.others))
    folders = kept(inside.folders)
    of_masks = _mask_folders(folders)
    for below in folders:
        _walk(below, tree, exclude, masks or below in of_masks, above | {real})


def _mask_folders(folders: list[Path]) -> set[Path]:
    """Those called so, and those whose images all have the names of the images in a neighbour called 'images'."""
    named = {folder for folder in folders if is_mask_folder(folder.name)}
    plain = [folder for folder in folders if is_plain(folder.name) and folder not in named]
    rest = [folder for folder in folders if folder not in named and not is_plain(folder.name)]
    if not plain or not rest:
        return named
    stems = {image.stem for folder in plain for image in listing(folder).images}
    for folder in rest:
        own = {image.stem for image in listing(folder).images}
        if own and own <= stems:
            named.add(folder)
    return named


def place(tree: Tree) -> Placing:
    """Split, class and patient of each image from its folders. DataError when every class holds the same few folders
    with files of the same names: one of them may be masks, and nothing says which.

    >>> placed = place(Tree(Path("data"), images=[Path("data/Train/covid/p1/images/a.png")])).images[0]
    >>> placed.split, placed.label, placed.patient
    ('train', 'covid', 'p1')
    """
    placing = Placing()
    parts = {path: _meaningful(path.relative_to(tree.root).parts[:-1]) for path in tree.images}
    splits = _divide(parts)
    dropped = _wrappers([folders for _, folders in filter(None, splits.values())])
    for path in tree.images:
        split, rest = splits[path] or ("", ())
        if splits[path] is None:
            placing.loose.append(tree.root / path.relative_to(tree.root).parts[0])
        elif len(rest) <= dropped:
            placing.loose.append(path)
        else:
            _add(placing, path, split, rest[dropped:], tree.root)
    placing.loose = list(dict.fromkeys(placing.loose))
    _check_beside(tree, splits)
    placing.images = _with_joint_names(placing.images)
    _take_out_shared(placing)
    return placing


def _check_beside(tree: Tree, splits: dict[Path, tuple[str, tuple[str, ...]] | None]) -> None:
    """DataError where folders beside the splits hold most of the images: one of them may be a split by another name."""
    outside = [path.relative_to(tree.root).parts[0] for path, place in splits.items() if place is None]
    if len(outside) > len(splits) / 2:
        [(folder, _)] = Counter(outside).most_common(1)
        raise DataError(
            f"{len(outside)} of {len(splits)} images of {tree.root} lie beside its folders of splits, for example in"
            f" {folder!r}",
            f"call that folder train, val or test, or leave it out with --exclude {folder!r}",
        )


def _meaningful(folders: Sequence[str]) -> tuple[str, ...]:
    return tuple(folder for folder in folders if not is_plain(folder))


def _divide(parts: dict[Path, tuple[str, ...]]) -> dict[Path, tuple[str, tuple[str, ...]] | None]:
    """Split and remaining folders of each image. Splits lie above the classes, or else below them; None for images
    beside splits that lie above."""
    places = {path: _at_split(folders) for path, folders in parts.items()}
    tops = {parts[path][:at] for path, at in places.items() if at is not None and parts[path][at + 1 :]}
    if not any(at is not None for at in places.values()):
        return {path: ("", folders) for path, folders in parts.items()}
    shortest = min(tops, key=len, default=None)
    if shortest is not None and all(top[: len(shortest)] == shortest for top in tops):
        return {
            path: (split_of(parts[path][at]), parts[path][at + 1 :])
            if at is not None and parts[path][:at] == shortest
            else None
            for path, at in places.items()
        }
    return {
        path: ("", folders)
        if (at := places[path]) is None
        else (split_of(folders[at]), (*folders[:at], *folders[at + 1 :]))
        for path, folders in parts.items()
    }


def _at_split(folders: tuple[str, ...]) -> int | None:
    return next((at for at, folder in enumerate(folders) if split_of(folder)), None)


def _wrappers(folders: list[tuple[str, ...]]) -> int:
    """How many folders above the classes say nothing: below each of them lies a healthy class, and none is one."""
    for depth in range(_DEEPEST_CLASS):
        labels: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for rest in folders:
            labels[rest[:depth]].add(canonical_label(rest[depth]) if len(rest) > depth else "")
        with_healthy = [HEALTHY in names and len(names) > 1 for names in labels.values()]
        if any(with_healthy):
            return depth if all(with_healthy) else 0
    return 0


def _with_joint_names(images: list[Placed]) -> list[Placed]:
    """Where every class folder is called by a split and a class, as train_normal and test_covid are, both are taken."""
    joint = {image.label: split_and_class(image.label) for image in images}
    if (
        any(image.split for image in images)
        or len(joint) < 2
        or not all(split for split, _ in joint.values())
    ):
        return images
    return [replace(image, split=joint[image.label][0], label=joint[image.label][1]) for image in images]


def _add(placing: Placing, path: Path, split: str, rest: tuple[str, ...], root: Path) -> None:
    if is_missing(rest[0]):
        placing.unlabelled.append(path)
    elif is_lateral(Path(*rest, path.name)) and not views_are_kept():
        placing.lateral.append(path)
    else:
        placing.images.append(Placed(path, split, rest[0], _patient(rest[1:]), rest[1:]))


def _patient(below: tuple[str, ...]) -> str:
    """Of the folders below a class: one of a known family, else the first that can be a patient."""
    known = patient_of_folders(below)
    if known:
        return known
    first = next((folder for folder in below if not is_no_patient(folder)), "")
    return "" if is_missing(first) else first


def _take_out_shared(placing: Placing) -> None:
    """Up to six folders that every class has, with several images in each, are kinds of images, not patients."""
    inside: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for image in placing.images:
        inside[canonical_label(image.label)][image.patient].append(image.path.stem)
    names = {frozenset(folders) for folders in inside.values()}
    shared = sorted(names.pop()) if len(names) == 1 and len(inside) > 1 else []
    fewest = min((len(stems) for folders in inside.values() for stems in folders.values()), default=0)
    numbered = any(re.search(r"\d", name) for name in shared)
    if "" in shared or numbered or not 1 <= len(shared) <= _MOST_SHARED or fewest < _FEWEST_SHARED:
        return
    if len(shared) > 1 and all(_same_names(folders) for folders in inside.values()):
        raise DataError(
            f"every class holds the same folders ({', '.join(shared)}) with files of the same names: "
            "some of them may be masks or copies",
            f"leave out what is no radiograph, for example with --exclude '{shared[-1]}'",
        )
    placing.shared = shared
    placing.images = [replace(image, patient="") for image in placing.images]


def _same_names(folders: dict[str, list[str]]) -> bool:
    counts = Counter(stem for stems in folders.values() for stem in set(stems))
    return all(count == len(folders) for count in counts.values())
