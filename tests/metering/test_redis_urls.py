import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.redis_urls import Address, is_cluster, parse_cluster


@pytest.mark.parametrize(
    ("url", "nodes", "one"),
    [
        ("redis+cluster://a:1,b:2", [("a", 1), ("b", 2)], "redis://a:1"),
        ("redis+cluster://a", [("a", 6379)], "redis://a:6379"),
        ("rediss+cluster://a:1/0", [("a", 1)], "rediss://a:1"),
        ("redis+cluster://[::1]:7, b:2/", [("::1", 7), ("b", 2)], "redis://[::1]:7"),
        ("redis+cluster://:p%40ss@a:1,b:2", [("a", 1), ("b", 2)], "redis://:p%40ss@a:1"),
        ("rediss+cluster://u:p@a:1?ssl_ca_certs=/c", [("a", 1)], "rediss://u:p@a:1?ssl_ca_certs=/c"),
    ],
)  # fmt: skip
def test_a_cluster_is_named_by_its_nodes(url: str, nodes: list[Address], one: str) -> None:
    """Credentials and options of the URL hold for each of them."""
    assert is_cluster(url)
    parsed = parse_cluster(url)
    assert list(parsed.nodes) == nodes
    assert parsed.of(parsed.nodes[0]) == one


@pytest.mark.parametrize(
    "url",
    [
        "redis://a:1",
        "redis+cluster://",
        "redis+cluster://a:1,",
        "redis+cluster://a:0",
        "redis+cluster://a:x",
        "redis+cluster://a:99999",
        "redis+cluster://a:1/1",
        "redis+cluster://a:1/0/0",
        "redis+cluster://[::1",
        "redis+cluster://u:hunter2@:1",
        "redis+cluster://u:hunter2@b:hunter2",
    ],
)
def test_what_names_no_cluster_is_refused(url: str) -> None:
    """The text names the rule and shows nothing of the URL."""
    with pytest.raises(ValueError, match=r"host:port|not the URL") as refusal:
        parse_cluster(url)
    assert "hunter2" not in f"{refusal.value} {refusal.value.__cause__} {refusal.value.__context__}"


@given(text=st.text(alphabet="redis+cluster:/@,[]?#.%0129 \u4e2d", max_size=30))
def test_any_text_is_a_url_or_is_refused(text: str) -> None:
    """Nothing else comes out than a ValueError."""
    try:
        parsed = parse_cluster(f"redis+cluster://{text}")
    except ValueError:
        return
    assert all(node.host and 0 < node.port < 65536 for node in parsed.nodes)
