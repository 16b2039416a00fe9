import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tallygate.secret_files import SecretUnusable, ensure


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    """The second start finds what the first one made; no draft stays."""
    folder = tmp_path / "new" / "var"
    first = ensure(folder, "secret_key")
    assert len(first) == 43
    assert ensure(folder, "secret_key") == first
    assert ensure(folder, "admin_token") != first
    assert sorted(path.name for path in folder.iterdir()) == ["admin_token", "secret_key"]


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    """Neither the file nor the folder that is made for it is open to others."""
    ensure(tmp_path / "var", "secret_key")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("var", "var/secret_key")]
    assert modes == [0o700, 0o600]


def test_all_who_start_at_once_agree(tmp_path: Path) -> None:
    """Whoever is quickest makes it; nobody sees half of it."""
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(lambda _: ensure(tmp_path, "secret_key"), range(64)))
    assert len(found) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def test_the_users_own_secret_is_kept(tmp_path: Path) -> None:
    """A file that was put there is read, without the line's end."""
    (tmp_path / "secret_key").write_text("my own secret\n")
    assert ensure(tmp_path, "secret_key") == "my own secret"


@pytest.mark.parametrize("content", ["", "\n", "  \n"])
def test_an_empty_file_is_no_secret(tmp_path: Path, content: str) -> None:
    """An empty key would encrypt nothing; the error says what to do and nothing is overwritten."""
    path = tmp_path / "secret_key"
    path.write_text(content)
    with pytest.raises(SecretUnusable, match=r"secret_key is empty; restore it"):
        ensure(tmp_path, "secret_key")
    assert path.read_text() == content


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """It names the path."""
    (tmp_path / "var").write_text("a file")
    with pytest.raises(OSError, match="var"):
        ensure(tmp_path / "var", "secret_key")
