"""Makers that a configuration can name."""

from billing_sync.licences import LicenceRequest

NOT_A_FUNCTION = 7


def make(request: LicenceRequest) -> str:
    """A licence."""
    return f"licence of {request.instance_id}"


async def make_later(request: LicenceRequest) -> str:
    """Not a maker: the event loop answers callbacks, too."""
    return make(request)
