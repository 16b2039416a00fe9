"""Which route a path belongs to, and what its upstream is asked for."""

from decimal import Decimal
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadPath, UnknownRoute
from gateway.readings import Path
from gateway.routing import RouteTable, ServedRoute, Upstream, decoded_path
from gateway.settings import Meter, Route, UsageSettings
from metering.catalogue import Package, PackageItem, Product

UP = "http://127.0.0.1:9000"


def route(path: str, *, name: str = "", upstream: str = UP, strip_prefix: bool = False) -> Route:
    """A route named after its path."""
    return Route(name=name or path, path=path, upstream=[upstream], strip_prefix=strip_prefix)


def only(config: Route) -> ServedRoute:
    """The one route of a table."""
    return RouteTable([config]).routes[0]


def asked(config: Route, target: bytes) -> bytes:
    """What the upstream of the route is asked for."""
    served = only(config)
    return served.upstreams[0].path + served.rest_of(target)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"/v1", "/v1"),
        (b"/v1/", "/v1"),
        (b"/v1/chat", "/v1"),
        (b"/v1/premium/x", "/v1/premium"),
        (b"/v1/premiums", "/v1"),
        (b"/v10", "/"),
        (b"/", "/"),
    ],
)
def test_the_longest_prefix_wins_on_segment_boundaries(path: bytes, name: str) -> None:
    """`/v1` covers `/v1/x` but not `/v10`."""
    table = RouteTable([route("/"), route("/v1/"), route("/v1/premium")])
    assert table.match(path).name.rstrip("/") == name.rstrip("/")


def test_a_path_without_a_route_is_unknown() -> None:
    """There is no default route."""
    with pytest.raises(UnknownRoute):
        RouteTable([route("/v1")]).match(b"/v2")


@pytest.mark.parametrize(
    "target",
    [
        b"/v1/../admin",
        b"/v1/%2e%2e/admin",
        b"/v1/%2E./admin",
        b"/v1/%252e%252e/admin",
        b"/v1/%25252e%25252e/admin",
        b"/v1/..%2fadmin",
        b"/v1/..%5cadmin",
        b"/v1/..;x=1/admin",
        b"/v1/./admin",
        b"/v1/..",
        b"//admin",
        b"/v1//admin",
        b"/v1%2f%2fadmin",
        b"/v1\\admin",
        b"/v1/%00",
        b"/v1/a%0d%0ab",
        b"/v1/\xff",
        b"v1/x",
        b"*",
        b"http://other/v1",
    ],
)
def test_paths_that_upstreams_rewrite_are_refused(target: bytes) -> None:
    """No spelling of a path reaches another place than the one it was matched for."""
    with pytest.raises(BadPath):
        decoded_path(target)


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"/v1/",
        b"/.well-known/x",
        b"/v1/a..b/...",
        b"/v1/models/meta%2Fllama",
        b"/v1/%E6%A8%A1?next=/../x//y",
    ],
)
def test_ordinary_paths_are_decoded(target: bytes) -> None:
    """The query is nobody's path."""
    assert decoded_path(target) == unquote_to_bytes(target.partition(b"?")[0])


@given(st.binary(max_size=40))
def test_no_decoding_of_an_accepted_path_leaves_its_prefix(junk: bytes) -> None:
    """However often an upstream decodes, there is no segment that goes up."""
    target = b"/v1/" + quote(junk, safe="/%.;\\").encode()
    try:
        path = decoded_path(target)
    except BadPath:
        return
    while True:
        segments = path.replace(b"\\", b"/").split(b"/")
        assert not {b".", b".."} & {segment.partition(b";")[0] for segment in segments}
        path, before = unquote_to_bytes(path), path
        if path == before:
            return


def test_an_encoded_spelling_matches_the_same_route() -> None:
    """`/%76%31` is `/v1` to every upstream, so it is to us."""
    table = RouteTable([route("/"), route("/v1")])
    assert table.match(decoded_path(b"/%76%31/chat")).name == "/v1"
    assert table.match(decoded_path(b"/v1%2Fchat")).name == "/v1"


def test_the_target_goes_on_as_it_came() -> None:
    """Neither path nor query are normalised, the base path stands in front."""
    config = route("/v1", upstream=UP + "/base/")
    assert asked(config, b"/v1/a%2Fb/?q=%7e&q=a+b") == b"/base/v1/a%2Fb/?q=%7e&q=a+b"


@pytest.mark.parametrize(
    ("target", "upstream_target"),
    [
        (b"/v1/chat?x=1", b"/chat?x=1"),
        (b"/v1", b"/"),
        (b"/v1?x", b"/?x"),
        (b"/%76%31/a%2Fb", b"/a%2Fb"),
    ],
)
def test_a_prefix_is_stripped_in_any_spelling(target: bytes, upstream_target: bytes) -> None:
    """What is left always starts with a slash."""
    assert asked(route("/v1", strip_prefix=True), target) == upstream_target


def test_a_stripped_prefix_must_end_in_a_plain_slash() -> None:
    """Otherwise the rest would not be the path it was matched as."""
    with pytest.raises(BadPath):
        asked(route("/v1", strip_prefix=True), b"/v1%2Fchat")


def test_the_plan_expects_what_is_sold_and_read_from_replies() -> None:
    """Requests and bytes are counted by the gateway itself; packages charge nothing."""
    item = PackageItem(of="T", quota=Decimal(1))
    products = [
        Product(product_id="T", routes=["r"], meter="tokens_total"),
        Product(product_id="B", routes=["r"], meter="bytes_out"),
        Product(product_id="P", routes=["r"], package=Package(items=[item])),
        Product(product_id="X", routes=["elsewhere"], meter="images"),
    ]
    config = Route(
        name="r",
        path="/",
        upstream=[UP],
        usage=UsageSettings(dialect="openai", inject_stream_usage="never"),
    )
    served = RouteTable([config], products, {"pages": Meter(path="$.usage.pages")}).routes[0]
    assert [product.product_id for product in served.products] == ["T", "B"]
    assert served.plan.expected == {"tokens_total"}
    assert served.plan.paths == {"pages": Path(("usage", "pages"))}
    assert (served.plan.dialect, served.plan.inject) == ("openai", False)


@pytest.mark.parametrize(
    "routes",
    [
        [route("/a", name="x"), route("/b", name="x")],
        [route("/a", name="x"), route("/a/", name="y")],
        [route("/a", upstream="http://")],
        [route("/a", upstream="http://user:secret@host")],
        [route("/a", upstream="http://host/?q=1")],
        [route("/a", upstream="http://host:port")],
    ],
)
def test_unusable_routes_are_refused(routes: list[Route]) -> None:
    """Twins and upstreams that are no base URL, without repeating a password."""
    with pytest.raises(ValueError, match=r"route|upstream|[Pp]ort") as refusal:
        RouteTable(routes)
    assert "secret" not in str(refusal.value)


def test_a_unix_socket_is_an_upstream() -> None:
    """Its URL is the socket's path, so it has none of its own."""
    (upstream,) = only(route("/v1", upstream="http+unix:///run/app.sock")).upstreams
    assert upstream == Upstream("http+unix:///run/app.sock", b"localhost", b"")


@pytest.mark.parametrize("url", ["http+unix:///", "http+unix:///s?a=b"])
def test_a_socket_without_a_path_is_refused(url: str) -> None:
    """Nor is there a query of it."""
    with pytest.raises(ValueError, match="unix socket"):
        only(route("/v1", upstream=url))


def test_an_upstream_that_is_named_twice_is_one() -> None:
    """Also in two spellings; whoever counts upstreams counts the same ones."""
    urls = ["http://a:1", "http://a:1/", "http://b:1"]
    served = only(Route(name="x", path="/x", upstream=urls))
    assert [upstream.origin for upstream in served.upstreams] == ["http://a:1", "http://b:1"]
