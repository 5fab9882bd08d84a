"""Child processes whose output is kept in files and can be waited for."""
import re
import signal
import socket
import subprocess
import threading
import time

START_SECONDS = 60
STARTED = []  # every Process, so that none outlives the tests


class Process:
    """A child; each line of its output goes to `log` (a path) and can be awaited by pattern."""

    def __init__(self, command, log, env=None, cwd=None):
        self.command = [str(word) for word in command]
        self.log = log
        self.lines = []
        self.news = threading.Condition()
        self.child = subprocess.Popen(
            self.command, env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.pump = threading.Thread(target=self._pump, daemon=True)
        self.pump.start()
        STARTED.append(self)

    def _pump(self):
        with open(self.log, "ab") as file:
            for line in self.child.stdout:
                file.write(line)
                file.flush()
                with self.news:
                    self.lines.append(line.decode("utf-8", "replace"))
                    self.news.notify_all()
        with self.news:
            self.lines.append(None)
            self.news.notify_all()

    def wait_for(self, pattern, seconds=START_SECONDS):
        """The first line, past or to come, that matches; fails when the process ends first."""
        found = []

        def arrived():
            for line in self.lines:
                if line is None:
                    return True
                match = re.search(pattern, line)
                if match:
                    found.append(match)
                    return True
            return False

        with self.news:
            in_time = self.news.wait_for(arrived, seconds)
        if found:
            return found[0]
        why = "it ended" if in_time else f"{seconds} s went by"
        raise AssertionError(f"no line {pattern!r} from {self.command[0]}: {why}\n{self.output()}")

    def wait_for_port(self, port, seconds=START_SECONDS):
        """Until something accepts connections on the port; fails when the process ends first."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.child.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"nothing listens on {port}\n{self.output()}")

    def output(self):
        with self.news:
            return "".join(line for line in self.lines if line is not None)

    def stop(self, seconds=15):
        """SIGTERM, and its exit status; SIGKILL when it does not obey."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child.stdin.close()
        self.pump.join(5)
        return self.child.returncode


def free_port():
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(question, seconds=10.0):
    """The first truthy answer to `question()`, asked again until then; the last answer when time is up."""
    end = time.monotonic() + seconds
    while True:
        answer = question()
        if answer or time.monotonic() > end:
            return answer
        time.sleep(0.02)
