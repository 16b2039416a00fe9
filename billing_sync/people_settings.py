"""How customers' people get to their page: by signed links, and by signing in at their tenant. Pure."""

from typing import Annotated, Final

from pydantic import Field

from metering.catalogue import Strict

_UNIT_MS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
Duration = Annotated[str, Field(pattern=r"^[1-9]\d{0,3}[mhd]$")]


def duration_ms(text: str) -> int:
    """Milliseconds of `30m`, `8h` or `7d`."""
    return int(text[:-1]) * _UNIT_MS[text[-1]]


class LinkSettings(Strict):
    """Links to `/usage/{token}`. `expires`: of one made without saying when it ends; `longest`: at most.

    `in_answers`: KooGallery is told them as frontEndUrl and dashboardUrl, where control.public_url is
    set. `rotate_keys`: whoever holds a link may rotate the customer's API keys.
    """

    expires: Duration = "7d"
    longest: Duration = "366d"
    in_answers: bool = True
    rotate_keys: bool = False


class SignInSettings(Strict):
    """Sessions of tenants' users: they end after `idle` without a request, and after `longest`.

    `pkce`: send a challenge (RFC 7636); peers that do not know it ignore it. `rotate_keys`: users of
    the role `admin` may rotate API keys. `portal_url`: where somebody is sent who comes without a tenant.
    """

    idle: Duration = "30m"
    longest: Duration = "8h"
    pkce: bool = True
    rotate_keys: bool = True
    portal_url: Annotated[str, Field(pattern=r"^https://[^\s\"<>]{1,500}$")] | None = None

    @property
    def idle_ms(self) -> int:
        return duration_ms(self.idle)

    @property
    def longest_ms(self) -> int:
        return duration_ms(self.longest)
