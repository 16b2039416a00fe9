"""The part of a line-rate exchange that has to do with its limits: it holds them, or waits for them."""

import math
from abc import ABC, abstractmethod

from gateway.brakes import Brakes, LetIn
from gateway.crossings import Crossings
from gateway.errors import GatewayError
from gateway.estimates import SAID
from gateway.exchange import Exchange
from gateway.holds import Hold


class Limited(ABC):
    """Takes what a request needs of its limits before it goes upstream."""

    deadline_s = math.inf
    _queued = False  # for what it lacks
    _hold: LetIn | None = None
    _shared: Crossings
    _exchange: Exchange

    @abstractmethod
    def fail(self, error: GatewayError) -> None:
        """End the exchange; nothing of it is left in the pool."""

    @abstractmethod
    def _aim(self) -> None:
        """Choose an upstream."""

    def _let_by(self, brakes: Brakes, body: bytes, length: int) -> bool:
        """Whether it holds what it needs. If not it waits, or is refused.

        `length` of the body is below 0 where it is not known.
        """
        desk = self._shared.desk
        if self._hold is not None or desk is None:
            return not self._queued
        now_s = self._shared.loop_time()
        if body.find(SAID) < 0 <= length:
            if brakes.patience:
                brakes.patience -= 1
            elif (batch := desk.batch(brakes, now_s)) is not None:
                batch.left -= 1
                self._hold = batch
                return True
        self._hold = hold = Hold(brakes, body, length)
        refusal = None if hold.take_all(now_s) else desk.take(hold)
        if refusal is not None:
            self.fail(refusal)
        elif hold.lacks >= 0:
            self._queued = True
            self.deadline_s = math.inf
            desk.wait(self, hold)
            return False
        return refusal is None

    def let_in(self, refusal: GatewayError | None) -> None:
        """It waited for its limits: it has what it needs, or is refused."""
        self._queued = False
        if refusal is None:
            self._aim()
        else:
            self.fail(refusal)

    def _let_go(self, hold: LetIn) -> None:
        """Nothing of its limits is needed any more."""
        desk = self._shared.desk
        if desk is not None:
            if self._queued:
                desk.leave(self)
            desk.give_back(hold)
