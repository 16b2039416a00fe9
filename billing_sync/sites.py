"""What is served: on KooGallery's and customers' listener, and on the operator's."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from billing_sync import (
    admin_api,
    callbacks,
    correction_api,
    key_api,
    kit_callbacks,
    link_api,
    mapping_api,
    openapi,
    tenant_api,
)
from billing_sync.alert_api import AlertApi
from billing_sync.api_answers import not_served
from billing_sync.app import Control
from billing_sync.console import assembly
from billing_sync.licence_api import LicenceApi
from billing_sync.parts import corrector_of, new_id, push_log_of
from billing_sync.people import pages_of
from billing_sync.record_api import RecordApi
from billing_sync.store.worker import SqlWorker
from billing_sync.web.security import SecureHeaders


def public_site(control: Control) -> Starlette:
    """KooGallery's listener, and that of customers' people."""
    people = pages_of(control.parts, control.view, control.key_ring)
    of_koogallery = [*callbacks.routes(control.callbacks), *kit_callbacks.routes(control.kit)]
    return _exact(Starlette(routes=[*of_koogallery, *people]))


def admin_site(control: Control) -> Starlette:
    """The operator's listener."""
    parts, token = control.parts, control.parts.admin_token
    deciding = RecordApi(parts.engine, push_log_of(parts), parts.clock, new_id)
    alerting = AlertApi(parts.engine, parts.clock, parts.alerts.terms.webhooks)
    licensing = LicenceApi(parts.engine, parts.clock, control.licences.wake)
    registry = control.telemetry.registry()
    site = Starlette(
        routes=[
            *admin_api.routes(
                control.view, parts.engine, registry, token, lambda: control.runner.halt.stop
            ),
            *deciding.routes(token),
            *correction_api.routes(corrector_of(parts), token),
            *key_api.routes(control.key_ring, token),
            *link_api.routes(control.linker, token),
            *mapping_api.routes(control.mapper, token),
            *alerting.routes(token),
            *tenant_api.routes(SqlWorker(parts.engine), token),
            *licensing.routes(token),
            *openapi.routes(token),
            *assembly.routes_of(_console_parts(control)),
        ],
        exception_handlers={HTTPException: not_served},
        middleware=[Middleware(SecureHeaders)],
    )
    return _exact(site)


def _exact(site: Starlette) -> Starlette:
    """A slash too many is answered 404: Starlette would send the browser to the host that it named."""
    site.router.redirect_slashes = False
    return site


def _console_parts(control: Control) -> assembly.ControlParts:
    parts = control.parts
    return assembly.ControlParts(
        control.runner,
        control.view,
        control.mapper,
        corrector_of(parts),
        control.key_ring,
        parts.admin_token,
        parts.alerts.terms.webhooks,
        parts.prover,
    )
