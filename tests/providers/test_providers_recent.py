"""What is kept for each account and realm: a few, the latest, whoever puts them there at the same time."""

from __future__ import annotations

import threading
import time

from sipcli_providers._recent import Recent


def test_the_latest_few_are_kept() -> None:
    kept: Recent[int, str] = Recent(3)
    for number in range(5):
        kept.put(number, str(number))
    kept.put(2, "again")  # the latest of all by that
    kept.put(5, "5")
    assert [kept.find(number) for number in range(6)] == [None, None, "again", None, "4", "5"]
    kept.drop(2)
    kept.drop(2)
    assert kept.find(2) is None and len(kept) == 2


class Slow:
    """A key that lets another thread run whenever a dict looks at it."""

    def __hash__(self) -> int:
        time.sleep(0)
        return id(self)


def test_T23_threads_neither_fail_nor_go_beyond_the_bound() -> None:
    """Two realms at once.  Fails without the lock in ``Recent.put``: one drops what the other has dropped."""
    kept: Recent[Slow, int] = Recent(2)
    failed: list[BaseException] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        try:
            for number in range(2_000):
                kept.put(Slow(), number)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(kept) == 2
