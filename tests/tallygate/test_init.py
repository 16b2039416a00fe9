"""`tallygate init` and the template it writes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from metering.keys import make_key
from tallygate.config import Config, load, parse
from tallygate.config_errors import Place
from tallygate.config_shape import keys_at
from tallygate.init import PLACEHOLDER_KEY, init, render, template

# `#key:` is a setting that is off; `# words` is prose.
_OFF = re.compile(r"^(\s*)#(?=\S)", re.MULTILINE)


def all_on() -> str:
    """The template with every setting switched on."""
    return _OFF.sub(r"\1", template())


def test_the_template_works_as_it_is() -> None:
    """Without any environment it is the documented first installation."""
    config = parse(template(), {}, base=Path("/"))
    assert [route.upstream for route in config.routes] == [["http://127.0.0.1:9000"]]
    assert [product.meter for product in config.products] == ["tokens_total"]
    assert [customer.id for customer in config.customers] == ["cust-1"]
    assert (config.redis, config.database) == ("embedded", "embedded")


def test_settings_that_are_off_show_their_defaults() -> None:
    """Switched on, they are accepted and change nothing."""
    config = parse(all_on(), {}, base=Path("/"))
    plain = parse(template(), {}, base=Path("/"))
    examples = {"products", "meters"}
    assert config.model_dump(exclude=examples) == plain.model_dump(exclude=examples)
    assert config.products[0].model_dump(exclude={"price"}) == plain.products[0].model_dump(
        exclude={"price"}
    )


def test_examples_that_are_off_are_accepted() -> None:
    """A meter of one's own, a price and a package."""
    config = parse(all_on(), {}, base=Path("/"))
    assert config.meters["pages"].path == "$.usage.pages"
    assert config.products[0].price is not None
    assert config.products[1].is_package


def sections(place: Place = ()) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every section below `place`, in lists too: its top-level key and its own keys."""
    for here in (place, (*place, 0)):
        keys = keys_at(here)
        if keys and place:
            yield str(place[0]), keys
        for key in keys:
            yield from sections((*here, key))


def text_of(key: str) -> str:
    """What the template says of a top-level key."""
    after = re.split(rf"^#?{key}:", template(), maxsplit=1, flags=re.MULTILINE)[1]
    return re.split(r"^#?[a-z_]+:", after, maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize(("key", "names"), tuple(sections()))
def test_the_template_shows_every_setting(key: str, names: tuple[str, ...]) -> None:
    """A setting that is added must be explained."""
    missing = [name for name in names if not re.search(rf"\b{name}:", text_of(key))]
    assert missing == []


def test_the_template_shows_every_top_level_key() -> None:
    """Nothing is left for the reader to guess."""
    shown = re.findall(r"^#?([a-z_]+):", template(), flags=re.MULTILINE)
    assert sorted(shown) == sorted(Config.model_fields)


def test_init_writes_a_configuration_with_a_fresh_key(tmp_path: Path) -> None:
    """The key is printed once and stands in the file, which only its owner can read."""
    path = tmp_path / "shop.yaml"
    result = CliRunner().invoke(init, [str(path)])
    assert result.exit_code == 0
    (declared,) = load(path, {}).customers[0].declared_keys()
    assert declared.key
    key = declared.key.get_secret_value()
    assert key.startswith("tg-")
    assert f"serve -c {path}" in result.output
    assert f"Bearer {key}" in result.output
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_default_path_is_tallygate_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an argument the file goes where you are."""
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(init).exit_code == 0
    assert (tmp_path / "tallygate.yaml").exists()


def test_init_writes_over_a_file_only_by_force(tmp_path: Path) -> None:
    """What somebody wrote stays, and the message says what to do."""
    path = tmp_path / "tallygate.yaml"
    path.write_text("mine")
    path.chmod(0o644)
    refused = CliRunner().invoke(init, [str(path)])
    assert (refused.exit_code, path.read_text()) == (2, "mine")
    assert "--force" in refused.output
    forced = CliRunner().invoke(init, [str(path), "--force"])
    assert forced.exit_code == 0
    assert path.read_text() != "mine"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["missing/tallygate.yaml", "."])
def test_a_path_that_cannot_be_written_is_one_line(tmp_path: Path, name: str) -> None:
    """No stack trace for a wrong path."""
    result = CliRunner().invoke(init, [str(tmp_path / name), "--force"])
    assert result.exit_code == 2
    assert len(result.output.splitlines()) == 1


def test_only_the_key_differs_from_the_template() -> None:
    """The same random bytes give the same file; the placeholder stands once."""
    text, key = render(bytes(32))
    assert key == make_key(bytes(32))
    assert text.replace(key, PLACEHOLDER_KEY) == template()
    assert template().count(PLACEHOLDER_KEY) == 1
