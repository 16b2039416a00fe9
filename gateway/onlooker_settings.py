"""What the data plane is told of who looks on: the access log, and traces."""

from typing import Annotated

from pydantic import Field, HttpUrl, SecretStr

from metering.catalogue import Strict

Share = Annotated[float, Field(ge=0, le=1)]


class AccessLogSettings(Strict):
    """Which calls get a line in the log: this share of them, and all that went wrong.

    Those that went wrong are bounded to 100 a second.
    """

    sample: Share = 0.0
    errors: bool = False


class TracingSettings(Strict):
    """Where spans go (OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces), and how many.

    `sample` is the share of calls; a caller's sampled flag counts too. Together they make at most
    `max_per_second` spans in each worker. `headers` go with each export.
    """

    endpoint: HttpUrl | None = None
    sample: Share = 0.0
    max_per_second: Annotated[int, Field(ge=1, le=10_000)] = 50
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    service_name: Annotated[str, Field(min_length=1, max_length=128)] = "tallygate"
