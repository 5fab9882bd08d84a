"""A private PostgreSQL, started by tests/postgres."""
import os
import pathlib
import re
import signal
import subprocess

import pytest

from bed.gateway import ROOT

SCRIPT = ROOT / "tests" / "postgres"


class Postgres:
    """A running server; `database(name)` makes an empty database and gives its URL."""

    def __init__(self):
        started = subprocess.run([SCRIPT, "start"], capture_output=True, text=True, check=False)
        found = dict(re.findall(r"export (\w+)=(\S+)", started.stdout))
        if not found:
            pytest.skip(f"no PostgreSQL: {started.stderr.strip()}")
        self.url = found["PORTUNUS_TEST_POSTGRES"]
        self.folder = pathlib.Path(found["PORTUNUS_TEST_POSTGRES_FOLDER"])

    def database(self, name):
        programs = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/psql"))
        psql = programs[-1] if programs else "psql"
        subprocess.run([psql, "-q", self.url, "-c", f'CREATE DATABASE "{name}"'], check=True)
        return self.url.rsplit("/", 1)[0] + "/" + name

    def pids(self):
        """The server's processes: the first one and its children."""
        first = int((self.folder / "db" / "postmaster.pid").read_text().splitlines()[0])
        return [first, *children(first)]

    def pause(self):
        """No process of the server answers any more; connections stay open."""
        for pid in self.pids():
            os.kill(pid, signal.SIGSTOP)

    def resume(self):
        for pid in self.pids():
            os.kill(pid, signal.SIGCONT)

    def stop(self):
        env = {**os.environ, "PORTUNUS_TEST_POSTGRES_FOLDER": str(self.folder)}
        subprocess.run([SCRIPT, "stop"], env=env, check=False, capture_output=True)


def children(parent):
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(stat.parent.name))
    return found
