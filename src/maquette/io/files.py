"""Files that are whole or absent: written beside their final name, then renamed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from maquette.errors import InputError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A name to write to, beside `path`, that becomes `path` when the block ends well.

    If the block fails or is interrupted, what it wrote is removed and a file that was there before stays.
    The temporary name keeps the suffix, since many writers choose the format by it.

    Raises:
        InputError: the folder can't be made or written, or the disk is full.
    """
    partial = path.with_name(f".{path.stem}.partial-{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise InputError(f"cannot write {path}: it is a folder; give the name of a file")
        yield partial
        os.replace(partial, path)
    except OSError as error:
        reason = error.strerror or "the file could not be written"
        raise InputError(f"cannot write {path}: {reason}; give a folder that can be written") from error
    finally:
        with suppress(OSError):  # its folder was never made, or is no folder
            partial.unlink(missing_ok=True)


def require_writable(folder: Path, option: str) -> None:
    """Make a folder and see that files can be made in it, before the work whose result belongs there.

    Args:
        folder: made if it isn't there.
        option: what the user called it, such as `--run`, for the message.

    Raises:
        InputError: it can't be made or written.
    """
    probe = folder / f".writable-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{option} {folder}: {error.strerror}; give a folder that can be written") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file or nothing.

    Raises:
        InputError: as `atomic_path`.
    """
    with atomic_path(path) as partial:
        partial.write_bytes(content)


def write_folder(path: Path, files: dict[str, bytes]) -> None:
    """Write a folder with all of its files, or nothing; it must not be there yet.

    Args:
        path: of the folder.
        files: contents by names below it, with slashes.

    Raises:
        InputError: it is there, can't be made or written, or the disk is full.
    """
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        for name, content in files.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_bytes(content)
        partial.rename(path)
    except OSError as error:
        reason = error.strerror or "the folder could not be written"
        raise InputError(f"cannot write {path}: {reason}; give a folder that can be written") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
