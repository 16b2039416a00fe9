"""What gateway workers are told to know the Agents gateway by, from the configuration. Pure."""

from billing_sync.settings import KooGallerySettings
from gateway.agents import AgentApp, Agents


def agents_of(settings: KooGallerySettings) -> Agents | None:
    """None where nobody could prove to be it."""
    apps = [
        AgentApp(app.app_key, app.app_secret.get_secret_value().encode())
        for app in settings.agent_apps
    ]
    constant = settings.constant_header
    if not apps and constant is None:
        return None
    header = None
    if constant is not None:
        header = (constant.name.lower().encode(), constant.value.get_secret_value().encode())
    return Agents(
        apps,
        jwt_header=settings.jwt_header.lower().encode(),
        constant=header,
        tolerance_ms=settings.jwt_tolerance_ms,
    )
