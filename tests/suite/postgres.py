"""A PostgreSQL server of the tests' own: in a temporary folder, behind a socket that only they know."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

USER, PASSWORD = "kfsvd", "not-to-be-seen"


@dataclass(frozen=True)
class Server:
    """One that answers."""

    folder: Path
    process: subprocess.Popen[bytes]
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://{USER}:{PASSWORD}@/{name}?host={self.folder}"

    def database(self) -> str:
        """The URL of a new, empty database."""
        import psycopg

        name = f"store_{next(self._numbers)}"
        where = {"host": str(self.folder), "user": USER, "password": PASSWORD, "dbname": "postgres"}
        with psycopg.connect(**where, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)


def binaries() -> Path | None:
    """The folder of the server's programs: Debian keeps it out of the path."""
    on_path = shutil.which("initdb")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return Path(on_path).parent if on_path else found[-1].parent if found else None


def missing() -> str | None:
    """What is wanting for a server; None if nothing is."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed"
    return None if binaries() else "no PostgreSQL server is installed"


@contextmanager
def server() -> Iterator[Server]:
    """Start one, and end it. The server refuses to run as root: then it runs as the user that its package made."""
    programs = binaries()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="kfsvd-postgres-"))
    other: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    try:
        (folder / "password").write_text(PASSWORD)
        if other:
            shutil.chown(folder, "postgres", "postgres")
            shutil.chown(folder / "password", "postgres", "postgres")
        data = folder / "data"
        options = ["-U", USER, "--auth=scram-sha-256", f"--pwfile={folder}/password", "--no-sync", "--no-locale"]
        made = subprocess.run(
            [programs / "initdb", "-D", data, *options, "-E", "UTF8"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            **other,
        )
        assert made.returncode == 0, made.stderr
        # Nothing here outlives the tests, so nothing need reach the disk; the time zone shows where one is forgotten.
        settings = ("listen_addresses=", "fsync=off", "full_page_writes=off", "timezone=Asia/Tokyo")
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", folder, *(part for s in settings for part in ("-c", s))],
                cwd=folder,
                stdout=log,
                stderr=log,
                **other,
            )
        try:
            started = Server(folder, process)
            _wait_for(started)
            yield started
        finally:
            process.send_signal(signal.SIGINT)  # without waiting for connections
            process.wait(30)
    finally:
        shutil.rmtree(folder)


def _wait_for(started: Server) -> None:
    import psycopg

    for _ in range(300):
        assert started.process.poll() is None, (started.folder / "log").read_text()
        try:
            psycopg.connect(host=str(started.folder), user=USER, password=PASSWORD, dbname="postgres").close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the server does not answer within 30 seconds")
