"""Runs the official MCP conformance suites against the running gateway, and compares with `baseline.txt`.

The suite plays the MCP server and starts `shim.py` as its client; see there for the rest of the way.
All client scenarios that are not OAuth run, each once for every revision that it applies to.
The last line is "N passed, N failed, N known to fail".
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

from bed import process  # noqa: E402  the path is set above
from bed.gateway import Gateway  # noqa: E402
from bed.provider import Provider  # noqa: E402

# Version of a suite, its package in `package.json`, the revisions that it is run for.
SUITES = [
    ("0.2.0-alpha.12", "@modelcontextprotocol/conformance", ["2025-11-25", "2026-07-28"]),
    ("0.1.16", "conformance-older", ["2025-11-25"]),
]
# Scenarios of extensions belong to no revision; they run in the newest.
EXTENSION = "extension"
SECONDS = 60


class Suite:
    """One version of the suite."""

    def __init__(self, version, package, revisions):
        self.version, self.revisions = version, revisions
        script = pathlib.Path(os.environ["PORTUNUS_TEST_CONFORMANCE"]) / package / "dist" / "index.js"
        self.command = [os.environ["PORTUNUS_TEST_NODE_22"], f"--import={HERE / 'close.mjs'}", str(script)]

    def scenarios(self):
        """(revision, scenario, further options) of every client scenario that is not OAuth."""
        listed = subprocess.run([*self.command, "list"], capture_output=True, text=True, check=True, timeout=SECONDS)
        of_clients = listed.stdout.partition("Client scenarios")[2].partition("\n\n")[0]
        found = []
        for name, applies in re.findall(r"^  - (\S+) \[(.*)\]$", of_clients, re.MULTILINE):
            known = applies.split(",")
            if not name.startswith("auth/"):
                found += [(revision, name, []) for revision in self.revisions if revision in known]
                found += [(self.revisions[-1], name, ["--force"])] if EXTENSION in known else []
        assert found, f"{self.version} lists no client scenario"
        return sorted(found)

    def run(self, revision, scenario, options, folder):
        """How many checks passed, and what is wrong, one line each; nothing when the scenario passed."""
        shim = f"{sys.executable} {HERE / 'shim.py'}"
        options = ["--command", shim, "--scenario", scenario, "--spec-version", revision, "-o", str(folder), *options]
        ended = subprocess.run(
            [*self.command, "client", *options], capture_output=True, text=True, check=False, timeout=SECONDS
        )
        (folder / "suite.txt").write_text(ended.stdout + ended.stderr, encoding="utf-8")
        reports = list(folder.glob("*/checks.json"))
        if len(reports) != 1:
            return 0, ["the suite wrote no report"]
        return self.read(json.loads(reports[0].read_text(encoding="utf-8")), ended.returncode)

    @staticmethod
    def read(checks, status):
        passed = sum(check["status"] == "SUCCESS" for check in checks)
        bad = [c for c in checks if c["status"] in ("FAILURE", "WARNING")]
        wrong = [f"{check['id']}: {check.get('errorMessage') or check['description']}" for check in bad]
        if status and not wrong:
            wrong.append("the client failed or took too long")
        if not passed:
            wrong.append("no check passed")
        return passed, wrong


def baseline():
    """Reason by (suite, revision, scenario)."""
    lines = (HERE / "baseline.txt").read_text(encoding="utf-8").splitlines()
    entries = [line.split(None, 3) for line in lines if line and not line.startswith("#")]
    assert all(len(entry) == 4 for entry in entries), "each line of the baseline has a reason"
    return {tuple(entry[:3]): entry[3] for entry in entries}


def judge(wrong, reason):
    """The verdict of one run and what is said with it."""
    if wrong and reason:
        return "known", [reason]
    if reason:
        return "FAIL", ["passes, but stands in the baseline"]
    return ("FAIL", wrong) if wrong else ("ok", [])


def run_all(folder):
    known = baseline()
    counts = {"ok": 0, "FAIL": 0, "known": 0}
    for suite in [Suite(*fields) for fields in SUITES]:
        for revision, scenario, options in suite.scenarios():
            place = folder / suite.version / revision / scenario
            place.mkdir(parents=True)
            passed, wrong = suite.run(revision, scenario, options, place)
            verdict, notes = judge(wrong, known.pop((suite.version, revision, scenario), None))
            counts[verdict] += 1
            head = f"{verdict:5} {suite.version} {revision} {scenario}: {passed} checks passed"
            print(head, *notes, sep="\n        ", flush=True)
    for entry in known:
        counts["FAIL"] += 1
        print("FAIL ", *entry, "\n        stands in the baseline, but does not exist")
    return counts


def main(folder):
    provider = Provider(folder)
    # The mock servers listen on localhost, by either family of addresses; one of them never answers.
    gateway = Gateway(folder, env={"PORTUNUS_MCP__ALLOW": "127.0.0.0/8,::1/128", "PORTUNUS_MCP__CALL_TIMEOUT_MS": "5000"})
    gateway.make_virtual_key("fake", "openai-chat", provider.base_url)
    os.environ["CONFORMANCE_KEY"] = gateway.make_key("conformance")
    os.environ["CONFORMANCE_GATEWAY"] = gateway.url
    return run_all(folder)


if __name__ == "__main__":
    place = pathlib.Path(tempfile.mkdtemp(prefix="portunus-conformance-"))
    try:
        counts = main(place)
    finally:
        for started in process.STARTED:
            started.stop()
    if counts["FAIL"]:
        print(f"the suites' reports are in {place}")
    else:
        shutil.rmtree(place)
    print(f"{counts['ok']} passed, {counts['FAIL']} failed, {counts['known']} known to fail")
    sys.exit(counts["FAIL"] > 0)
