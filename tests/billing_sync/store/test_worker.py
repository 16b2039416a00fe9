"""Transactions in threads."""

import threading

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlmodel import Session, select

from billing_sync.models import Meta
from billing_sync.store.worker import SqlWorker

pytestmark = pytest.mark.anyio


async def test_jobs_run_elsewhere(engine: Engine) -> None:
    """Neither reading nor writing happens on the thread of the event loop."""
    worker, threads = SqlWorker(engine), []

    def job(session: Session) -> None:
        threads.append(threading.get_ident())
        session.exec(select(Meta)).all()

    await worker.read(job)
    await worker.write(job)
    assert threading.get_ident() not in threads


async def test_who_comes_second_reads_the_first(engine: Engine) -> None:
    """A unique identity taken in between makes the job run again, from a clean transaction."""
    worker, runs = SqlWorker(engine), []

    def job(session: Session) -> str:
        runs.append(1)
        session.add(Meta(key="half", value="written"))
        session.flush()
        if len(runs) == 1:
            raise IntegrityError("insert", None, Exception("taken"))
        return "done"

    assert await worker.write(job) == "done"
    assert len(runs) == 2


async def test_twice_is_an_error(engine: Engine) -> None:
    """A conflict that stays is raised, and nothing is left behind."""
    worker = SqlWorker(engine)

    def job(session: Session) -> None:
        session.add(Meta(key="half", value="written"))
        session.flush()
        raise IntegrityError("insert", None, Exception("taken"))

    with pytest.raises(IntegrityError):
        await worker.write(job)
    assert await worker.read(lambda session: session.get(Meta, "half")) is None


async def test_other_errors_are_not_repeated(engine: Engine) -> None:
    """A database that fails is asked once."""
    worker, runs = SqlWorker(engine), []

    def job(_session: Session) -> None:
        runs.append(1)
        raise OperationalError("select", None, Exception("locked"))

    with pytest.raises(OperationalError):
        await worker.write(job)
    assert len(runs) == 1
