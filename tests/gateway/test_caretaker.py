"""When a helper is started, for what, and when again."""

from itertools import pairwise

from gateway.caretaker import Caretaker


class Process:
    """Runs until told to end."""

    def __init__(self) -> None:
        self.code: int | None = None

    def poll(self) -> int | None:
        return self.code

    def terminate(self) -> None:
        self.code = -15

    def wait(self) -> int:
        assert self.code is not None
        return self.code


class Helpers:
    """Every helper that was started, in order."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.processes: list[Process] = []
        self.refused = False

    def start(self, words: list[str]) -> Process:
        if self.refused:
            raise BlockingIOError("no more processes")
        self.words.append(" ".join(words))
        self.processes.append(Process())
        return self.processes[-1]

    def end(self, code: int = 0) -> None:
        self.processes[-1].code = code


class Watch:
    """A caretaker that looks once a second; each helper ends before the next look."""

    def __init__(self, code: int = 0) -> None:
        self.helpers = Helpers()
        self.caretaker = Caretaker(self.helpers.start)
        self.now = 1000.0
        self.code = code

    def look(self, *lanes: str, again: bool = False, behind: str = "") -> bool:
        self.now += 1
        started = self.caretaker.look(self.now, lanes, again=again, behind=behind)
        if started:
            self.helpers.end(self.code)
        return started


def test_nothing_to_do_starts_nothing() -> None:
    """For as long as one looks."""
    watch = Watch()
    assert not any(watch.look() for _ in range(100))


def test_a_lane_without_an_owner_is_adopted_at_once() -> None:
    """And if it stays, again after longer and longer pauses."""
    watch = Watch()
    starts = [watch.now for _ in range(400) if watch.look("a")]
    gaps = [int(b - a) for a, b in pairwise(starts)]
    assert starts[0] == 1001
    assert gaps[:6] == [2, 4, 8, 16, 32, 60]
    assert set(gaps[6:]) == {60}
    assert set(watch.helpers.words) == {"adopt"}


def test_one_more_death_is_not_kept_waiting() -> None:
    """However long the pause had become."""
    watch = Watch()
    for _ in range(50):
        watch.look("a")
    assert watch.look("a", "b")


def test_one_helper_at_a_time() -> None:
    """While it runs nothing is started, whatever comes up."""
    helpers = Helpers()
    caretaker = Caretaker(helpers.start)
    assert caretaker.look(1.0, ["a"], again=False, behind="")
    for now in range(2, 200):
        assert not caretaker.look(float(now), ["a", "b"], again=True, behind="me")
    assert caretaker.started == 1
    helpers.end()
    assert caretaker.look(300.0, ["a", "b"], again=False, behind="me")


def test_a_look_at_retired_lanes_is_owed_until_it_went_well() -> None:
    """A helper that could not finish, or was killed, is followed by another one."""
    watch = Watch(code=1)
    assert watch.look(again=True)
    for _ in range(20):
        watch.look()
    watch.code = -9
    for _ in range(20):
        watch.look()
    assert watch.helpers.words[:5] == ["adopt --again"] * 5
    watch.code = 0
    while not watch.look():
        pass
    count = len(watch.helpers.words)
    assert not any(watch.look() for _ in range(100))
    assert len(watch.helpers.words) == count


def test_what_is_asked_for_meanwhile_is_done_afterwards() -> None:
    """The helper that runs may have passed the lane already."""
    helpers = Helpers()
    caretaker = Caretaker(helpers.start)
    assert caretaker.look(1.0, [], again=True, behind="")
    assert not caretaker.look(2.0, [], again=True, behind="")
    helpers.end()
    assert caretaker.look(3.0, [], again=False, behind="")
    helpers.end()
    assert not caretaker.look(99.0, [], again=False, behind="")
    assert helpers.words == ["adopt --again"] * 2


def test_our_own_lane_is_replayed_while_it_is_behind() -> None:
    """With pauses: a Redis that takes nothing does not take it every second."""
    watch = Watch()
    starts = [watch.now for _ in range(60) if watch.look(behind="me")]
    assert set(watch.helpers.words) == {"replay me"}
    assert 3 <= len(starts) <= 6
    watch.look()
    assert watch.look(behind="me")  # behind anew: at once


def test_neither_kind_starves_the_other() -> None:
    """A lane that stays behind does not keep dead ones from being adopted, nor the reverse."""
    watch = Watch(code=1)
    for _ in range(300):
        watch.look("a", behind="me")
    assert watch.helpers.words.count("replay me") >= 5
    assert watch.helpers.words.count("adopt") >= 5


def test_a_system_without_processes_is_tried_again() -> None:
    """A worker does not die of it."""
    watch = Watch()
    watch.helpers.refused = True
    assert not watch.look("a")
    watch.helpers.refused = False
    assert any(watch.look("a") for _ in range(5))
    assert watch.caretaker.started == 1


def test_the_end_ends_the_helper() -> None:
    """Once; without one there is nothing to end."""
    helpers = Helpers()
    caretaker = Caretaker(helpers.start)
    caretaker.end()
    caretaker.look(1.0, ["a"], again=False, behind="")
    caretaker.end()
    assert helpers.processes[0].code == -15
    caretaker.end()
