"""`gristmill operator log`: the published score log as files that any web server can serve."""

import shutil
from pathlib import Path

import click

from chain.homes import home_option
from chain.output import JSON, show_text

_DIRECTORY = click.Path(file_okay=False, path_type=Path)
_HOME = home_option("replica", "The replica's directory.")


@click.group()
def log() -> None:
    """The published score log."""


@log.command()
@click.argument("directory", type=_DIRECTORY)
@_HOME
@JSON
def export(directory: Path, home: Path, as_json: bool) -> None:
    """Copy the published log to DIRECTORY, or update the copy.

    The replica may run meanwhile.  Put DIRECTORY behind any web server: `gristmill audit --from`
    takes its address.

    \b
    gristmill operator log export public/log --home ada
    """
    size = export_log(home / "tlog", directory)
    told = {"directory": str(directory), "entries": size}
    text = f"{directory}: the log's first {size} entries"
    show_text(told, as_json, text)


def export_log(source: Path, target: Path) -> int:
    """Copy what is published: files that never change first, what names them last.

    Returns:
        Entries under the checkpoint that is in `target` now.

    Raises:
        ConfigError: nothing is published in `source`, or files went away while they were copied.
    """
    from bft.errors import ConfigError, DecodeError
    from chain.durable import write_whole
    from chain.tlog.checkpoint import decode_checkpoint
    from chain.tlog.note import decode_note
    from chain.tlog.tiles import CERTIFIED, CHECKPOINT, SERVED, TileTree
    from coordinator.service.log_files import FILE_MODE

    heads = [name for name in (CERTIFIED, CHECKPOINT) if (source / name).is_file()]
    if CHECKPOINT not in heads:
        raise ConfigError(f"{source} holds no checkpoint yet: one comes with the first cycle")
    kept = [(name, (source / name).read_bytes()) for name in heads]
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if name in heads or not SERVED.fullmatch(name) or (target / name).is_file():
            continue
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        beside = target / f"{name}.new"
        try:
            shutil.copyfile(path, beside)
        except FileNotFoundError:
            continue  # a partial file of an older publication
        beside.replace(target / name)
    try:
        size = decode_checkpoint(decode_note(kept[-1][1]).text).size
        TileTree.load(size, lambda name: (target / name).read_bytes())
    except (DecodeError, FileNotFoundError) as error:
        raise ConfigError(f"the log was published anew meanwhile, export again: {error}") from None
    for name, data in kept:
        write_whole(target / name, data, FILE_MODE)
    return size
