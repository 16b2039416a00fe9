"""What a configuration may say about licences."""

from pathlib import Path

import pytest

from tallygate.config import Config, ConfigInvalid, parse

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
LICENCE = "products: [{product_id: L, licence: {}}]\n"


def read(text: str) -> Config:
    return parse(text, {}, base=Path("/"))


@pytest.mark.parametrize(
    "licence",
    [
        "{maker: shop.licences:make}",
        f"{{maker: 'https://licences.example.com/make?tenant=1', secrets: [{SECRET}]}}",
        f"{{maker: 'http://127.0.0.1:9000/make', secrets: [{SECRET}, {SECRET}], timeout: 5}}",
        "{maker: a:b, app_key: k, app_secret: s, unknown_codes: accept, answer_within: 0}",
    ],
)
def test_what_is_taken(licence: str) -> None:
    """A function, a hook, an APP key."""
    config = read(f"{LICENCE}koogallery: {{licence: {licence}}}")
    assert config.products[0].licence is not None
    assert SECRET not in repr(config)
    assert "example.com" not in repr(config)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LICENCE, "products[0].licence: nobody makes it"),
        ("koogallery: {licence: {maker: shop}}", "koogallery.licence.maker: write package.module"),
        ("koogallery: {licence: {maker: 'a b:c'}}", "koogallery.licence.maker: write package"),
        (
            f"koogallery: {{licence: {{maker: 'http://l.example.com/', secrets: [{SECRET}]}}}}",
            "koogallery.licence.maker: a hook is an https:// URL",
        ),
        (
            f"koogallery: {{licence: {{maker: 'https://u:p@l.example.com/', secrets: [{SECRET}]}}}}",
            "koogallery.licence.maker: a hook is an https:// URL",
        ),
        (
            "koogallery: {licence: {maker: 'https://l.example.com/'}}",
            "koogallery.licence.secrets: missing",
        ),
        (
            "koogallery: {licence: {maker: 'https://l.example.com/', secrets: [short]}}",
            "koogallery.licence.secrets[0]: a secret begins with whsec_",
        ),
        ("koogallery: {licence: {app_key: k}}", "koogallery.licence.app_secret: missing"),
        ("koogallery: {licence: {timeout: 0}}", "koogallery.licence.timeout: "),
        ("koogallery: {licence: {answer_within: 5}}", "koogallery.licence.answer_within: "),
        ("koogallery: {licence: {unknown_codes: maybe}}", "koogallery.licence.unknown_codes: "),
        ("koogallery: {licence: {makr: a:b}}", "did you mean 'maker'?"),
        (
            "products: [{product_id: L, licence: {kind: code}, routes: []}]",
            "products[0].routes: no call charges a licence product",
        ),
        (
            "products: [{product_id: L, licence: {kind: code}, meter: requests}]",
            "products[0].meter: no call charges a licence product",
        ),
        (
            "products: [{product_id: L, licence: {kind: code, devices: 2}}]",
            "products[0].licence.devices: authorization codes are given out",
        ),
        (
            "products: [{product_id: L, licence: {kind: code}}]\n"
            "customers: [{id: c, keys: [sk-testing], instances: [{id: i, product: L}]}]",
            "customers[0].instances[0].product: there is no product 'L'",
        ),
    ],
)
def test_what_is_refused(text: str, problem: str) -> None:
    """By its place, with what to do."""
    with pytest.raises(ConfigInvalid) as caught:
        read(text)
    assert any(
        line.startswith(problem) or problem in line for line in str(caught.value).splitlines()
    )
    assert SECRET not in str(caught.value)


def test_no_package_of_licences() -> None:
    """A package holds quota for what is metered."""
    text = (
        "products: [{product_id: L, licence: {kind: code}}, "
        "{product_id: P, package: {items: [{of: L, quota: 1}]}}]"
    )
    with pytest.raises(ConfigInvalid, match="no pay-per-use product 'L'"):
        read(text)
