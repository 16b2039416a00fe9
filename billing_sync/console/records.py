"""Usage records: where each stands, the marketplace's words about it, and what a person decides."""

from functools import partial
from typing import Final

from anyio import to_thread
from sqlmodel import Session as Ledger
from starlette.responses import Response
from starlette.routing import Route

from billing_sync.acting import Decision
from billing_sync.console import tones
from billing_sync.console.shell import HOME, NotFound, Shell, Visit
from billing_sync.errors import BadQuestion, UnknownRecord, WrongState
from billing_sync.models import UsageRecord
from billing_sync.states import ACTS, Act, State
from billing_sync.store import acts, newest, outbox

PATH: Final = "/records"


class Records:
    """Their list, one of them, and deciding."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            self._shell.get(PATH, self._list),
            self._shell.get(f"{PATH}/{{sn}}", self._one),
            *(self._shell.post(f"{PATH}/{{sn}}/{act}", partial(self._decide, act)) for act in Act),
        ]

    async def _list(self, visit: Visit) -> Response:
        state, instance_id = visit.asked("state"), visit.asked("instance")
        if state is not None and state not in list(State):
            raise BadQuestion(f"state must be one of {', '.join(State)}")
        after = visit.asked("after")

        def look(ledger: Ledger) -> tuple[newest.Listed[UsageRecord], dict[str, int]]:
            found = newest.records(ledger, after, state=state, instance_id=instance_id)
            return found, outbox.count_by_state(ledger)

        found, counts = await self._shell.read(look)
        return self._shell.page(
            visit,
            "records.html",
            found=found,
            first=after is None,
            counts=counts,
            states=list(State),
            state=state,
            instance_id=instance_id,
            tones=tones.RECORDS,
        )

    async def _one(self, visit: Visit) -> Response:
        serial = visit.request.path_params["sn"]

        def look(ledger: Ledger) -> tuple[UsageRecord | None, list[object]]:
            record = ledger.get(UsageRecord, serial) if serial.isprintable() else None
            return record, list(acts.of_record(ledger, serial)) if record else []

        record, decided = await self._shell.read(look)
        if record is None:
            raise NotFound
        possible = [act for act, (needed, _) in ACTS.items() if record.state == needed]
        if record.attempts or record.logged:
            possible = [act for act in possible if act is not Act.HOLD]
        return self._shell.page(
            visit,
            "record.html",
            record=record,
            decided=decided,
            possible=possible,
            tone=tones.RECORDS.get(record.state, "quiet"),
            product=self._shell.ports.catalogue.get(record.product_id),
        )

    async def _decide(self, act: Act, visit: Visit) -> Response:
        serial = visit.request.path_params["sn"]
        decision = Decision(act, serial, visit.session.subject, visit.given("reason"))
        back = f"{HOME}{PATH}/{serial}"
        try:
            record = await to_thread.run_sync(self._shell.ports.decide, decision)
        except UnknownRecord:
            raise NotFound from None
        except (WrongState, BadQuestion) as problem:
            return self._shell.refused(visit, problem, back)
        except OSError:
            return self._shell.refused(visit, visit.texts("console.failed.push_log"), back)
        state = visit.texts.word("console.states", record.state)
        return self._shell.done(visit, visit.texts("console.record.decided", state=state), back)
