"""Under `/_sim`: a company that changes, and the Kit's syncs that tell the merchant (spec §5)."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .checks import RESULT_CODES
from .conversation import Answered
from .debug_case import Version
from .directory import MAX_OF_TENANT, App, Org, Person, Tenant, keep
from .errors import BadRequest, NotFound
from .in_process import Simulator
from .kit_bodies import Dialect, Flag
from .kit_calls import SYNCS, Sync
from .kit_cipher import PADDINGS, SHA256
from .syncing import Manner
from .tampering import TAMPERS
from .wire import an_object, answer, flag, objects, only, read_object, text, texts, whole

_MANNER: Final = ("version", "test_flag", "as_text", "tamper", "repeat", "oaep", "expect")
_VERSIONS: Final = {"V2": Version.KIT_V2, "V1": Version.KIT_V1}
_PERSON: Final = ("user_name", "name", "org_code", "role", "enabled", "more")
Wanted = dict[str, object]
Kept = TypeVar("Kept")


class KitPlay:
    """Tenants, apps, people and departments; every change is told at once."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._directory = simulator.directory
        self._syncing = simulator.syncing

    def routes(self) -> list[Route]:
        tenant = "/tenants/{tenant_id}"
        both = ["PUT", "DELETE"]
        return [
            Route("/tenants", self.tenants),
            Route(tenant, self.tenant, methods=both),
            Route(tenant + "/apps/{app_id}", self.app, methods=both),
            Route(tenant + "/people", self.people, methods=["PUT"]),
            Route(tenant + "/people/{user_name}", self.person, methods=both),
            Route(tenant + "/orgs", self.orgs, methods=["PUT"]),
            Route(tenant + "/orgs/{code}", self.org, methods=both),
            Route("/kit/{name}", self.anything, methods=["POST"]),
        ]

    async def tenants(self, _: Request) -> Response:
        """Without any secret."""
        return answer({"tenants": [each.as_json() for each in self._directory.tenants.values()]})

    async def tenant(self, request: Request) -> Response:
        """tenantSync: add, modify or delete."""
        manner, wanted = await _asked(request)
        tenant_id, url = request.path_params["tenant_id"], self._simulator.production_url
        if request.method == "DELETE":
            told = await self._syncing.tenant(
                url, self._directory.tenant(tenant_id), Flag.DELETE, manner
            )
            del self._directory.tenants[tenant_id]
            return _said(told)
        only(wanted, "name", "tenant_code", "domain_name", "instance_id", "order_id")
        known = self._directory.tenants.get(tenant_id)
        domain = known.domain_name if known else str(request.base_url).rstrip("/")
        tenant = Tenant(
            tenant_id=tenant_id,
            tenant_code=text(wanted, "tenant_code", known.tenant_code if known else tenant_id),
            name=text(wanted, "name", known.name if known else tenant_id),
            domain_name=text(wanted, "domain_name", domain),
            instance_id=str(wanted.get("instance_id", known.instance_id if known else "")),
            order_id=str(wanted.get("order_id", known.order_id if known else "")),
        )
        self._directory.put(tenant)
        change = Flag.MODIFY if known else Flag.ADD
        return _said(await self._syncing.tenant(url, tenant, change, manner))

    async def app(self, request: Request) -> Response:
        """applicationSync; a client id and a secret are made where none is given."""
        manner, wanted = await _asked(request)
        tenant, url = self._of(request), self._simulator.production_url
        app_id = request.path_params["app_id"]
        known = tenant.apps.get(app_id)
        if request.method == "DELETE":
            told = await self._syncing.app(url, tenant, _found(known, app_id), Flag.DELETE, manner)
            del tenant.apps[app_id]
            return _said(told)
        only(wanted, "client_id", "client_secret", "redirect_uris")
        made = known.client_id if known else f"client-{tenant.tenant_id}-{app_id}"[:64]
        client_id = text(wanted, "client_id", made)
        if (holder := self._directory.app_of(client_id)) and holder != (tenant, known):
            raise BadRequest(f"client_id {client_id!r} is that of another app; name your own")
        app = App(
            app_id=app_id,
            client_id=client_id,
            client_secret=text(wanted, "client_secret", secrets.token_urlsafe(24)),
            redirect_uris=tuple(texts(wanted, "redirect_uris")),
        )
        keep(tenant.apps, app_id, app, 100)
        change = Flag.MODIFY if known else Flag.ADD
        return _said(await self._syncing.app(url, tenant, app, change, manner))

    async def people(self, request: Request) -> Response:
        """authSync of many: `people` is a list of {user_name, name, org_code, role, enabled, more}."""
        manner, wanted = await _asked(request)
        tenant = self._of(request)
        only(wanted, "people")
        people = [_person(each) for each in objects(wanted, "people", MAX_OF_TENANT)]
        for person in people:
            keep(tenant.people, person.user_name, person)
        url = self._simulator.production_url
        return _said(await self._syncing.people(url, tenant, people, Flag.ADD, manner))

    async def person(self, request: Request) -> Response:
        """authSync of one: add, modify, delete, or with `?cancel=1` the end of his authorization."""
        manner, wanted = await _asked(request)
        tenant, url = self._of(request), self._simulator.production_url
        user_name = request.path_params["user_name"]
        if request.method == "DELETE":
            person = _found(tenant.people.get(user_name), user_name)
            gone = Flag.CANCEL if request.query_params.get("cancel") else Flag.DELETE
            told = await self._syncing.people(url, tenant, [person], gone, manner)
            del tenant.people[user_name]
            return _said(told)
        person = _person({**wanted, "user_name": user_name})
        change = Flag.ADD if keep(tenant.people, user_name, person) else Flag.MODIFY
        return _said(await self._syncing.people(url, tenant, [person], change, manner))

    async def org(self, request: Request) -> Response:
        """singleOrgSync: add, modify or delete."""
        manner, wanted = await _asked(request)
        tenant, url = self._of(request), self._simulator.production_url
        code = request.path_params["code"]
        if request.method == "DELETE":
            org = _found(tenant.orgs.get(code), code)
            told = await self._syncing.org(url, tenant, org, Flag.DELETE, manner)
            del tenant.orgs[code]
            return _said(told)
        org = _org({**wanted, "code": code})
        change = Flag.ADD if keep(tenant.orgs, code, org) else Flag.MODIFY
        return _said(await self._syncing.org(url, tenant, org, change, manner))

    async def orgs(self, request: Request) -> Response:
        """allOrgSync: `orgs` replaces all departments."""
        manner, wanted = await _asked(request)
        tenant = self._of(request)
        only(wanted, "orgs")
        orgs = [_org(each) for each in objects(wanted, "orgs", MAX_OF_TENANT)]
        tenant.orgs = {org.code: org for org in orgs}
        return _said(await self._syncing.orgs(self._simulator.production_url, tenant, manner))

    async def anything(self, request: Request) -> Response:
        """Any sync with any `body`, for what no good marketplace sends."""
        manner, wanted = await _asked(request)
        name = request.path_params["name"]
        if name not in SYNCS:
            raise NotFound(f"no sync {name!r}; known are {', '.join(SYNCS)}")
        only(wanted, "body")
        sync = Sync(name, an_object(wanted.get("body", {})))
        return _said(await self._syncing.send(self._simulator.production_url, sync, manner))

    def _of(self, request: Request) -> Tenant:
        return self._directory.tenant(request.path_params["tenant_id"])


async def _asked(request: Request) -> tuple[Manner, Wanted]:
    """How it is to be sent, and the rest of the body."""
    body = await read_object(request)
    wanted = {name: value for name, value in body.items() if name not in _MANNER}
    return _manner({name: value for name, value in body.items() if name in _MANNER}), wanted


def _manner(asked: Mapping[str, object]) -> Manner:
    version, tamper = text(asked, "version", "V2"), text(asked, "tamper", "none")
    oaep, expect = text(asked, "oaep", SHA256), asked.get("expect")
    for value, known in ((version, _VERSIONS), (tamper, TAMPERS), (oaep, PADDINGS)):
        if value not in known:
            raise BadRequest(f"{value!r} must be one of {', '.join(known)}")
    if expect is not None and expect not in RESULT_CODES:
        raise BadRequest(f"expect must be one of {', '.join(sorted(RESULT_CODES))}")
    dialect = Dialect(
        _VERSIONS[version],
        whole(asked, "test_flag", 0, (0, 1)),
        flag(asked, "as_text", default=False),
    )
    manner = Manner(dialect, tamper, whole(asked, "repeat", 1, (1, 100)), oaep)
    return manner if expect is None else replace(manner, expect=frozenset({str(expect)}))


def _person(wanted: Mapping[str, object]) -> Person:
    only(wanted, *_PERSON)
    user_name = text(wanted, "user_name")
    return Person(
        user_name=user_name,
        name=text(wanted, "name", user_name),
        org_code=text(wanted, "org_code", "D-000"),
        role=text(wanted, "role", "user"),
        enabled=flag(wanted, "enabled", default=True),
        more=an_object(wanted.get("more", {})),
    )


def _org(wanted: Mapping[str, object]) -> Org:
    only(wanted, "code", "name", "parent_code")
    parent = text(wanted, "parent_code") if wanted.get("parent_code") else ""
    return Org(text(wanted, "code"), text(wanted, "name"), parent)


def _found(kept: Kept | None, name: str) -> Kept:
    if kept is None:
        raise NotFound(f"{name!r} is unknown; GET /_sim/tenants lists them")
    return kept


def _said(answers: Sequence[Answered]) -> Response:
    found = [finding.as_json() for answered in answers for finding in answered.findings]
    return answer({"replies": [each.as_json() for each in answers], "findings": found})
