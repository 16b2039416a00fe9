"""What browsers are told with every reply."""

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from billing_sync.web.assets import assets, static_route, url_of
from billing_sync.web.security import CSP, SecureHeaders


async def page(_: object) -> Response:
    return Response("x")


app = Starlette(routes=[Route("/", page), static_route("/static")])
client = TestClient(SecureHeaders(app))


def test_pages_are_locked_down() -> None:
    """Nothing foreign, nothing inline, in no frame, kept by no cache; errors too."""
    for path in ("/", "/nowhere"):
        headers = client.get(path).headers
        assert headers["content-security-policy"] == CSP
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in CSP


def test_static_files() -> None:
    """May be kept for ever under the name that tells their content, and are there under no other."""
    for plain, asset in assets().items():
        reply = client.get(url_of("/static", plain))
        assert reply.content == asset.content
        assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert client.get(f"/static/{plain}").status_code == 404


def test_paths_out_of_the_folder() -> None:
    """There are none."""
    for path in ("../pages.py", "..%2fpages.py", "vendor/../../pages.py", "", "vendor"):
        assert client.get(f"/static/{path}").status_code == 404


def test_vendored_files_bring_their_licences() -> None:
    """Each one, beside it."""
    from billing_sync.web.assets import FOLDER

    stems = {path.name.split(".")[0] for path in (FOLDER / "vendor").glob("*.min.*")}
    assert stems == {"htmx", "uplot"}
    assert all((FOLDER / "vendor" / f"{stem}.LICENSE.txt").exists() for stem in stems)
