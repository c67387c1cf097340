"""Which home a command takes when none is named."""

from pathlib import Path

import pytest

from chain.homes import FILES, default_home


@pytest.mark.parametrize("kind", FILES)
def test_the_directory_here_if_it_is_such_a_home_and_else_the_users_data(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    elsewhere = tmp_path / "data" / "gristmill" / kind
    other = next(names for another, names in FILES.items() if another != kind)[0]
    (tmp_path / other).touch()
    assert default_home(kind) == elsewhere
    for name in FILES[kind]:
        (tmp_path / name).touch()
        assert default_home(kind) == Path()
        (tmp_path / name).unlink()
