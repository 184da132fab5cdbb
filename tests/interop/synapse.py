"""A real Synapse in a process of its own: installed from the package index into an environment outside the repository.

It lives in the user's cache folder, under its version, and is made when first asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import aiohttp
import orjson
from server_process import SECRET, free_port

VERSION = "1.163.2"
_PLENTY = {"per_second": 10_000, "burst_count": 10_000}
_LONGEST_START_S = 60


def installed_python() -> Path:
    """The interpreter of an environment with Synapse in it. Several test workers may ask at once."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "starling-tests"
    caches.mkdir(parents=True, exist_ok=True)
    environment = caches / f"synapse-{VERSION}-py{sys.version_info.major}{sys.version_info.minor}"
    stamp, python = environment / ".installed", environment / "bin" / "python"
    with (caches / "synapse.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists():
            shutil.rmtree(environment, ignore_errors=True)
            _install(environment, python)
            stamp.touch()
    return python


def _install(environment: Path, python: Path) -> None:
    package = f"matrix-synapse=={VERSION}"
    uv = shutil.which("uv")
    if uv is None:
        venv.create(environment, with_pip=True)
        commands = [[str(python), "-m", "pip", "install", "--quiet", package]]
    else:
        commands = [
            [uv, "venv", "--quiet", "--python", sys.executable, str(environment)],
            [uv, "pip", "install", "--quiet", "--python", str(python), package],
        ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{package} could not be installed:\n{done.stdout}{done.stderr}")


class SynapseProcess:
    """A Synapse on free loopback ports: plain HTTP for clients, TLS for other servers.

    `certificate` is a PEM file with a certificate for localhost and its key, `authority` that of who signed it.
    """

    def __init__(self, folder: Path, certificate: Path, authority: Path) -> None:
        self.port, self.federation_port = free_port(), free_port()
        self.name = f"localhost:{self.federation_port}"
        self.log = folder / "log"
        self.folder = folder
        self._config = folder / "homeserver.yaml"
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "logging.yaml").write_bytes(orjson.dumps(_logging()))
        self._config.write_bytes(orjson.dumps(self._settings(certificate, authority)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        python = await asyncio.to_thread(installed_python)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [python, "-m", "synapse.app.homeserver", "-c", str(self._config)],
                cwd=self.folder,
                env={"PATH": os.environ["PATH"]},
                stdout=log,
                stderr=log,
            )
        async with aiohttp.ClientSession() as session:
            for _ in range(_LONGEST_START_S * 10):
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{self.url}/health") as answer:
                        if answer.status == 200:
                            return
                if self._process.poll() is not None:
                    break
                await asyncio.sleep(0.1)
        raise RuntimeError(f"Synapse did not start: {self.log.read_text()}")

    def stop(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _settings(self, certificate: Path, authority: Path) -> dict[str, object]:
        here = {"bind_addresses": ["127.0.0.1"], "type": "http"}
        return {
            "server_name": self.name,
            "pid_file": str(self.folder / "pid"),
            "log_config": str(self.folder / "logging.yaml"),
            "media_store_path": str(self.folder / "media"),
            "database": {"name": "sqlite3", "args": {"database": str(self.folder / "synapse.db")}},
            "listeners": [
                {"port": self.port, **here, "resources": [{"names": ["client"]}]},
                {"port": self.federation_port, **here, "tls": True, "resources": [{"names": ["federation"]}]},
            ],
            "tls_certificate_path": str(certificate),
            "tls_private_key_path": str(certificate),
            "federation_custom_ca_list": [str(authority)],
            "ip_range_blacklist": [],
            "trusted_key_servers": [],
            "suppress_key_server_warning": True,
            "report_stats": False,
            "signing_key": "ed25519 a_test 4rJBU9bWZTGKNqYCV5cXCRGVfTgQlQrXfG3kTyrHSfc",
            "macaroon_secret_key": "a macaroon secret",
            "form_secret": "a form secret",
            "registration_shared_secret": SECRET,
            "enable_registration": True,
            "enable_registration_without_verification": True,
            "bcrypt_rounds": 4,
            "allow_public_rooms_over_federation": True,
            "room_list_publication_rules": [{"action": "allow"}],
            "allow_public_rooms_without_auth": True,
            "allow_profile_lookup_over_federation": True,
            "url_preview_enabled": False,
            "federation": {"destination_min_retry_interval": 100, "destination_max_retry_interval": 1_000},
            "federation_rr_transactions_per_room_per_second": 1_000,
            "rc_federation": {"concurrent": 50, "reject_limit": 1_000, "sleep_limit": 1_000, "sleep_delay": 1},
            "rc_login": {"address": _PLENTY, "account": _PLENTY, "failed_attempts": _PLENTY},
            "rc_joins": {"local": _PLENTY, "remote": _PLENTY},
            "rc_invites": {"per_room": _PLENTY, "per_user": _PLENTY, "per_issuer": _PLENTY},
            "rc_presence": {"per_user": _PLENTY},
            **dict.fromkeys(
                (
                    "rc_message",
                    "rc_registration",
                    "rc_joins_per_room",
                    "rc_admin_redaction",
                    "rc_3pid_validation",
                    "rc_key_requests",
                    "rc_room_creation",
                ),
                _PLENTY,
            ),
        }


def _logging() -> dict[str, object]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"level": os.environ.get("SYNAPSE_LOG_LEVEL", "WARNING"), "handlers": ["console"]},
    }
