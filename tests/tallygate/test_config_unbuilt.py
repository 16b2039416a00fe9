"""What has a name but is not built is refused, never ignored."""

from pathlib import Path

import pytest

from tallygate.config import parse
from tallygate.config_errors import dotted
from tallygate.config_shape import field_at
from tallygate.config_unbuilt import SETTINGS, unbuilt

SHOP = """
routes: [{{name: chat, path: /v1, upstream: [http://u:1], usage: {{normalize: {normalize}}}}}]
products: [{{product_id: P1, routes: [chat], meter: requests}}]
"""
SOLD = """
routes: [{{name: chat, path: /v1, upstream: [http://u:1]}}]
products: [{{product_id: P1, routes: [chat], meter: requests, {how}}}]
"""


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("koogallery: {kit_key: k}", "koogallery.kit_key"),
        ("koogallery: {site: eu}", "koogallery.site"),
        ("customers: [{id: c, name: n}]", "customers.*.name"),
    ],
)
def test_a_value_that_is_not_built_is_refused(text: str, setting: str) -> None:
    """The line names the place and says so; the default is taken."""
    (problem,) = unbuilt(parse(text, {}, base=Path("/")), [setting])
    assert dotted(problem.place) == setting.replace(".*.", "[0].")
    assert "not yet built; " in problem.text
    assert list(unbuilt(parse("{}", {}, base=Path("/")), [setting])) == []


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
        "koogallery: {kit_key: k}",
    ],
)
def test_a_value_that_is_built_is_taken(text: str) -> None:
    """A merge once brought the lines of these settings back."""
    parse(text, {}, base=Path("/"))


def test_every_listed_setting_exists() -> None:
    """A renamed field cannot slip out of the list."""
    for setting in SETTINGS:
        place = tuple(0 if step == "*" else step for step in setting.split("."))
        assert field_at(place) is not None
