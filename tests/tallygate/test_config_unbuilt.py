"""What has a name but is not built is refused, never ignored."""

from pathlib import Path

import pytest

from tallygate.config import ConfigInvalid, parse
from tallygate.config_shape import field_at
from tallygate.config_unbuilt import SETTINGS

SHOP = """
routes: [{{name: chat, path: /v1, upstream: [http://u:1], usage: {{normalize: {normalize}}}}}]
products: [{{product_id: P1, routes: [chat], meter: requests}}]
"""
SOLD = """
routes: [{{name: chat, path: /v1, upstream: [http://u:1]}}]
products: [{{product_id: P1, routes: [chat], meter: requests, {how}}}]
"""


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("koogallery: {kit_key: k}", "koogallery.kit_key"),
        ("koogallery: {private_key_file: a.pem}", "koogallery.private_key_file"),
    ],
)  # fmt: skip
def test_a_value_that_is_not_built_is_refused(text: str, place: str) -> None:
    """The line names the place and says so."""
    with pytest.raises(ConfigInvalid) as caught:
        parse(text, {}, base=Path("/"))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{place}: ")
    assert "is not yet built; " in line


@pytest.mark.parametrize(
    "text",
    [
        'billing: {push_by: "00:05"}',
        SHOP.format(normalize="true"),
        "billing: {hold: {times: 20}}",
        SOLD.format(how="cycle: day"),
        SOLD.format(how="charged_by: agents_gateway"),
        "koogallery: {agent_apps: [{app_key: a, app_secret: b}], jwt_header: X-Jwt}",
        "koogallery: {constant_header: {name: X-A, value: b}}",
    ],
)
def test_a_value_that_is_built_is_taken(text: str) -> None:
    """A merge once brought the lines of these settings back."""
    parse(text, {}, base=Path("/"))


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_listed_setting_exists(setting: str) -> None:
    """A renamed field cannot slip out of the list."""
    place = tuple(0 if step == "*" else step for step in setting.split("."))
    assert field_at(place) is not None
