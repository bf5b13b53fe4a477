"""The control socket against those who would hijack, clog or confuse it (T34)."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sipcli.errors import ConfigError, LocalProtocolError
from sipcli.ua.control import server as control
from sipcli.ua.control.line import LONGEST_LINE, Request
from sipcli.ua.control.place import check_socket, peer_of
from sipcli.ua.control.server import ControlServer, control_path

needs_root = pytest.mark.xfail(os.geteuid() != 0, reason="another user is needed, which only root can be", run=False)
NOBODY = 65534


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


async def _ping(request: Request) -> Mapping[str, Any]:
    return {"pong": request.text("say")}


async def _fail(request: Request) -> Mapping[str, Any]:
    raise KeyError("canary-5e1f")


async def _refuse(request: Request) -> Mapping[str, Any]:
    raise LocalProtocolError("it is over", hint="call again")


@asynccontextmanager
async def serving(path: Path, **settings: Any) -> AsyncIterator[ControlServer]:
    server = ControlServer(path, {"ping": _ping, "fail": _fail, "refuse": _refuse}, **settings)
    await server.start()
    try:
        yield server
    finally:
        await server.close()


async def ask(path: Path, *lines: bytes) -> list[dict[str, Any]]:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        answers = []
        for line in lines:
            writer.write(line)
            answers.append(json.loads(await asyncio.wait_for(reader.readline(), 5)))
        return answers
    finally:
        writer.close()
        await writer.wait_closed()


def live(test: Any) -> Any:
    """Real sockets and real time."""

    def run(place: Path) -> None:
        asyncio.run(test(place))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@live
async def test_every_command_is_answered_with_its_id(place: Path) -> None:
    async with serving(place / "s"):
        answers = await ask(
            place / "s",
            b'{"id":"a","command":"ping","say":"hello"}\n',
            b'{"id":2,"command":"nonsense"}\n',
            b"garbage\n",
            b'{"id":3,"command":"ping","say":7}\n',
            b'{"id":4,"command":"fail"}\n',
            b'{"id":5,"command":"refuse"}\n',
        )
    assert answers[0] == {"v": 1, "id": "a", "ok": True, "pong": "hello"}
    assert [(a["id"], a["ok"], a.get("error")) for a in answers[1:]] == [
        (2, False, "unknown_command"),
        (None, False, "bad_request"),
        (3, False, "bad_request"),
        (4, False, "failed"),
        (5, False, "failed"),
    ]
    assert "canary" not in json.dumps(answers)
    assert answers[1]["hint"] == "there are: ping, fail, refuse"
    assert (answers[5]["message"], answers[5]["hint"]) == ("it is over", "call again")


@live
async def test_T34_the_socket_is_ours_alone_and_gone_afterwards(place: Path) -> None:
    """Fails without the umask around bind()."""
    async with serving(place / "s"):
        assert stat.S_IMODE((place / "s").stat().st_mode) == 0o600
    assert not (place / "s").exists()


@live
async def test_T34_a_line_of_a_megabyte_is_refused(place: Path) -> None:
    """Fails without the bound in ``LineSplitter``."""
    async with serving(place / "s"):
        reader, writer = await asyncio.open_unix_connection(place / "s")
        writer.write(b"x" * 2**20 + b"\n")
        answer = json.loads(await asyncio.wait_for(reader.readline(), 5))
        assert answer["error"] == "bad_request" and str(LONGEST_LINE) in answer["message"]
        writer.write(b'{"id":1,"command":"ping"}\n')
        assert json.loads(await asyncio.wait_for(reader.readline(), 5))["ok"]
        writer.close()
        assert (await ask(place / "s", b'{"id":1,"command":"ping"}\n'))[0]["ok"]


@live
async def test_T34_a_thousand_connections_stall_nobody(place: Path) -> None:
    """Fails without the bound on clients in ``_accept`` (a thousand tasks and descriptors are held)."""
    async with serving(place / "s") as server:
        loop = asyncio.get_running_loop()
        longest = 0.0
        over = False

        async def beat() -> None:
            nonlocal longest
            while not over:
                before = loop.time()
                await asyncio.sleep(0.005)
                longest = max(longest, loop.time() - before)

        beating = asyncio.create_task(beat())
        clients: list[socket.socket] = []
        refused = 0
        for _ in range(1000):
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            try:
                client.connect(os.fspath(place / "s"))
            except BlockingIOError:  # the queue is full: the system itself says no
                refused += 1
            clients.append(client)
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        held = len(server._clients)
        for client in clients:
            client.close()
        over = True
        await beating
        assert held <= control.MOST_CLIENTS
        assert refused < 1000
        assert longest < 0.25
        while server._clients:
            await asyncio.sleep(0.01)
        assert (await ask(place / "s", b'{"id":1,"command":"ping"}\n'))[0]["ok"]


@live
async def test_T34_a_client_that_does_not_read_is_sent_away_and_stalls_nobody(place: Path) -> None:
    """Fails without the time limit in ``_send``: the place is held for ever."""
    before, control.SLOW = control.SLOW, 0.2
    try:
        async with serving(place / "s", most=2) as server:
            lazy = socket.socket(socket.AF_UNIX)
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            lazy.connect(os.fspath(place / "s"))
            lazy.setblocking(False)
            line = b'{"id":1,"command":"ping","say":"%s"}\n' % (b"x" * 10000)
            try:
                while True:
                    lazy.send(line)
                    await asyncio.sleep(0)
            except (BlockingIOError, BrokenPipeError):
                pass
            assert (await ask(place / "s", b'{"id":1,"command":"ping"}\n'))[0]["ok"]
            async with asyncio.timeout(30):
                while server._clients:
                    await asyncio.sleep(0.01)
            lazy.close()
    finally:
        control.SLOW = before


@live
async def test_T34_a_silent_client_is_sent_away(place: Path) -> None:
    """Fails without the time limit around reading."""
    before, control.IDLE = control.IDLE, 0.1
    try:
        async with serving(place / "s"):
            reader, writer = await asyncio.open_unix_connection(place / "s")
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
    finally:
        control.IDLE = before


@live
async def test_T34_a_client_that_never_ends_its_line_is_sent_away(place: Path) -> None:
    """Fails when every octet buys another wait: sixteen clients of one octet a minute would keep everybody out."""
    before, control.IDLE = control.IDLE, 0.1
    try:
        async with serving(place / "s"):
            reader, writer = await asyncio.open_unix_connection(place / "s")
            end = asyncio.create_task(reader.read())
            async with asyncio.timeout(30):
                while not end.done():
                    writer.write(b"x")
                    await asyncio.wait([end], timeout=0.01)
            assert end.exception() is None or isinstance(end.exception(), ConnectionError)  # as the last x found it
            writer.close()
    finally:
        control.IDLE = before


# What is imported comes first: another user may not even read our Python.
AS_NOBODY = f"import os, socket, sys\nos.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"


def as_nobody(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python as another user."""
    return subprocess.run(
        [sys.executable, "-I", "-c", AS_NOBODY + code, *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@needs_root
@pytest.mark.xdist_group("modes")  # it opens the directories of the whole run, and closes them again: one at a time
@pytest.mark.parametrize("guarded", [True, False])
def test_T34_another_user_is_hung_up_on(tmp_path: Path, guarded: bool) -> None:
    """Fails without the comparison of users in ``_accept``: the stranger, let through by the modes, is answered."""

    async def run() -> None:
        async with serving(tmp_path / "s"):
            if not guarded:  # as on a system where the modes of a socket mean nothing
                (tmp_path / "s").chmod(0o666)
            code = (
                "s = socket.socket(socket.AF_UNIX); s.settimeout(5)\n"
                "s.connect(sys.argv[1])\n"
                'try:\n    s.send(b\'{"id":1,"command":"ping"}\\n\'); print(repr(s.recv(100)))\n'
                "except OSError as e: print(type(e).__name__)"
            )
            done = await asyncio.to_thread(as_nobody, code, os.fspath(tmp_path / "s"))
            if guarded:
                assert "PermissionError" in done.stderr
            else:
                assert done.stdout.strip() in ("b''", "ConnectionResetError", "BrokenPipeError"), done

    parents = [parent for parent in tmp_path.parents if parent.stat().st_uid == os.geteuid() and parent != Path("/")]
    modes = [(parent, stat.S_IMODE(parent.stat().st_mode)) for parent in (tmp_path, *parents)]
    try:
        for parent, mode in modes:
            parent.chmod(mode | 0o011)
        asyncio.run(run())
    finally:
        for parent, mode in modes:
            parent.chmod(mode)


@needs_root
def test_T34_who_listens_is_known_to_the_client(tmp_path: Path) -> None:
    """The system names the other end's user also to the one who connects.  Fails with a constant in ``peer_of``."""
    listener = socket.socket(socket.AF_UNIX)
    path = tmp_path / "s"
    code = "s = socket.socket(fileno=int(sys.argv[1])); s.listen()\nc, _ = s.accept(); c.recv(1)"
    listener.bind(os.fspath(path))
    os.set_inheritable(listener.fileno(), True)
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", AS_NOBODY + code, str(listener.fileno())], pass_fds=[listener.fileno()]
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            with socket.socket(socket.AF_UNIX) as client:
                try:
                    client.connect(os.fspath(path))
                except ConnectionRefusedError:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                    continue
                assert peer_of(client) == NOBODY
                break
    finally:
        child.wait(10)
        listener.close()


def start(path: Path) -> None:
    async def run() -> None:
        async with serving(path):
            pass

    asyncio.run(run())


def test_T34_a_planted_link_is_not_followed(place: Path) -> None:
    """Fails when ``_clear`` looks through links (stat instead of lstat)."""
    elsewhere = place / "elsewhere"
    (place / "s").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="no socket of ours"):
        start(place / "s")
    assert (place / "s").is_symlink() and not elsewhere.exists()
    with pytest.raises(ConfigError, match="is not a socket"):
        check_socket(place / "s")


def test_T34_a_planted_file_is_left_alone(place: Path) -> None:
    """Fails when ``_clear`` removes whatever is there."""
    (place / "s").write_text("precious")
    with pytest.raises(ConfigError, match="no socket of ours"):
        start(place / "s")
    assert (place / "s").read_text() == "precious"


def planted(path: Path, owner: int) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(os.fspath(path))
    os.chown(path, owner, -1)


@needs_root
def test_T34_a_planted_socket_of_another_is_neither_used_nor_removed(place: Path) -> None:
    """Fails without the owner's check in ``_clear`` and in ``check_socket``."""
    planted(place / "s", NOBODY)
    with pytest.raises(ConfigError, match="no socket of ours"):
        start(place / "s")
    with pytest.raises(ConfigError, match=f"belongs to user {NOBODY}"):
        check_socket(place / "s")
    assert (place / "s").exists()


def environ(place: Path) -> dict[str, str]:
    return {"XDG_RUNTIME_DIR": os.fspath(place)}


def test_T34_the_directory_is_made_for_us_alone(place: Path) -> None:
    """Fails without the mode of mkdir()."""
    before = os.umask(0)
    try:
        path = control_path(environ(place))
    finally:
        os.umask(before)
    assert path == place / "sipcli" / f"{os.getpid()}.sock"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("value", [{}, {"XDG_RUNTIME_DIR": ""}, {"XDG_RUNTIME_DIR": "run"}])
def test_T34_without_a_runtime_directory_there_is_no_socket(value: dict[str, str]) -> None:
    """Fails when a place like /tmp stands in for it."""
    assert control_path(value) is None


def test_T34_a_directory_that_others_can_enter_is_refused(place: Path) -> None:
    """Fails without the modes in ``check_directory``."""
    (place / "sipcli").mkdir()
    (place / "sipcli").chmod(0o710)
    with pytest.raises(ConfigError, match="others can get into"):
        control_path(environ(place))


@needs_root
def test_T34_a_planted_directory_of_another_is_refused(place: Path) -> None:
    """Fails without the owner in ``check_directory``."""
    (place / "sipcli").mkdir(mode=0o700)
    os.chown(place / "sipcli", NOBODY, -1)
    with pytest.raises(ConfigError, match=f"belongs to user {NOBODY}") as caught:
        control_path(environ(place))
    assert "run this as that user" in str(caught.value.hint)  # it may be a running one's: not to be removed


def test_T34_a_planted_link_in_place_of_the_directory_is_refused(place: Path) -> None:
    """Fails without O_NOFOLLOW in ``check_directory``."""
    (place / "real").mkdir(mode=0o700)
    (place / "sipcli").symlink_to(place / "real")
    with pytest.raises(ConfigError, match="not a directory of our own"):
        control_path(environ(place))


def test_T34_a_runtime_directory_that_others_write_is_refused(place: Path) -> None:
    """Fails without ``check_parent``: whoever writes there puts his directory in the place of ours."""
    place.chmod(0o770)
    with pytest.raises(ConfigError, match="not ours alone"):
        control_path(environ(place))


def test_what_dead_processes_left_is_removed_and_nothing_else(place: Path) -> None:
    directory = place / "sipcli"
    directory.mkdir(mode=0o700)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    dead, living = directory / f"{child.pid}.sock", directory / f"{os.getppid()}.sock"
    for path in (dead, living):
        planted(path, os.geteuid())
    (directory / "notes.txt").write_text("kept")
    control_path(environ(place))
    assert sorted(path.name for path in directory.iterdir()) == sorted([living.name, "notes.txt"])


def test_a_place_where_somebody_listens_is_not_taken_from_him(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(os.fspath(place / "s"))
        other.listen()
        with pytest.raises(ConfigError, match="another program listens"):
            start(place / "s")
    start(place / "s")  # he has gone: what he left is in nobody's way


def test_a_path_that_no_socket_can_have_is_refused_in_words(place: Path) -> None:
    with pytest.raises(ConfigError, match="too long"):
        start(place / ("x" * 120))


def test_a_socket_that_another_put_in_our_place_is_not_removed(place: Path) -> None:
    async def run() -> None:
        async with serving(place / "s"):
            (place / "s").rename(place / "moved")
            (place / "s").write_text("not ours")

    asyncio.run(run())
    assert (place / "s").read_text() == "not ours"


async def test_what_was_bound_and_cannot_listen_leaves_no_file(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(listener: socket.socket, backlog: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(socket.socket, "listen", refuse)
    server = ControlServer(place / "s", {})
    with pytest.raises(ConfigError, match="cannot be a control socket"):
        await server.start()
    assert not (place / "s").exists()
