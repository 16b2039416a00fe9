"""The queue of writes: in order, soon, and at once where it is much."""

from collections.abc import Callable

from gateway.write_queue import WriteQueue


class Soon:
    """Holds what is to be called."""

    def __init__(self) -> None:
        self.asked: list[Callable[[], None]] = []

    def __call__(self, callback: Callable[[], None]) -> None:
        self.asked.append(callback)


class Log:
    """What was written, by whom; a `Line` is one of its outlets."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, bytes]] = []


class Line:
    """An outlet. It may fail, or do something as it is written to."""

    def __init__(self, log: Log, name: str, then: Callable[[], None] | None = None) -> None:
        self._log, self._name, self._then = log, name, then

    def write(self, data: bytes) -> None:
        self._log.lines.append((self._name, data))
        if self._then is not None:
            self._then()


def fails() -> None:
    raise RuntimeError("closed")


def test_it_waits_until_the_events_at_hand_are_dealt_with() -> None:
    """Nothing goes out before; then all of it, in order."""
    soon, log = Soon(), Log()
    queue, a, b = WriteQueue(soon), Line(log, "a"), Line(log, "b")
    for line, data in ((a, b"1"), (b, b"2"), (a, b"3")):
        queue.put(line, data)
    assert log.lines == []
    assert len(soon.asked) == 1
    soon.asked[0]()
    assert log.lines == [("a", b"1"), ("b", b"2"), ("a", b"3")]
    queue.put(b, b"4")
    assert len(soon.asked) == 2


def test_much_goes_out_at_once_behind_what_waits() -> None:
    """A large piece waits for nobody, and overtakes nobody."""
    log = Log()
    queue, line = WriteQueue(Soon()), Line(log, "a")
    queue.put(line, b"first")
    queue.put(line, b"x" * 16_385)
    assert [len(data) for _, data in log.lines] == [5, 16_385]


def test_many_go_out_at_once() -> None:
    """What waits is bounded."""
    log = Log()
    queue, line = WriteQueue(Soon()), Line(log, "a")
    for _ in range(256):
        assert log.lines == []
        queue.put(line, b"x")
    assert len(log.lines) == 256


def test_a_flush_inside_a_flush_keeps_the_order() -> None:
    """Who is written to may flush."""
    log = Log()
    queue = WriteQueue(Soon())
    first, second = Line(log, "first", queue.flush), Line(log, "second")
    queue.put(first, b"1")
    queue.put(second, b"2")
    queue.put(first, b"3")
    queue.flush()
    assert log.lines == [("first", b"1"), ("second", b"2"), ("first", b"3")]


def test_what_fails_keeps_nobody_else_waiting() -> None:
    """A connection that raises is its own trouble."""
    log = Log()
    queue = WriteQueue(Soon())
    queue.put(Line(log, "broken", fails), b"1")
    queue.put(Line(log, "well"), b"2")
    queue.flush()
    assert log.lines == [("broken", b"1"), ("well", b"2")]
