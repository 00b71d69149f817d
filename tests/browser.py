"""A page in headless Chromium, driven by the DevTools protocol over a pipe: what it says, holds and looks like. Standard library only."""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time

import pytest

# Chromium reads messages from descriptor 3 and writes to 4, each ended by a NUL; both may be taken when this process starts.
START = """import fcntl, os, sys
r, w = (fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3])
os.dup2(r, 3); os.dup2(w, 4); os.execvp(sys.argv[3], sys.argv[3:])"""
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking")


def find():
    """The browser's path; skips the test where there is none."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("Chromium is not there: apt-get install chromium")
    return found


class Page:
    """One tab. `problems` are uncaught errors, console errors and requests that its policy refused."""

    def __init__(self, profile, width=1280, height=900):
        (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
        line = [sys.executable, "-c", START, str(theirs_in), str(theirs_out), find(), *FLAGS, "--remote-debugging-pipe"]
        line += [f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(line, pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self.pipe, self.rest, self.sent, self.session = (ours_in, ours_out), b"", 0, None
        self.problems, self.requests = [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(width, height)

    def call(self, method, **parameters):
        """The result of a command; AssertionError with its message where it fails."""
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": parameters} | ({"sessionId": self.session} if self.session else {})
        os.write(self.pipe[1], json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self.sent:
                assert "error" not in answer, answer
                return answer["result"]

    def _read(self, seconds=60):
        end = time.monotonic() + seconds
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.pipe[0]], [], [], max(end - time.monotonic(), 0))
            assert ready, "Chromium did not answer"
            part = os.read(self.pipe[0], 1 << 20)
            assert part, f"Chromium ended with {self.process.wait()}"
            self.rest += part
        text, _, self.rest = self.rest.partition(b"\0")
        message = json.loads(text)
        method, found = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.problems.append(found["exceptionDetails"].get("exception", {}).get("description") or found["exceptionDetails"]["text"])
        elif method == "Runtime.consoleAPICalled" and found["type"] in ("error", "warning", "assert"):
            self.problems.append(str(found["args"]))
        elif method == "Log.entryAdded":
            self.problems.append(found["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(found["request"]["url"])
        return message

    def open(self, path):
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")
        return self

    def run(self, script):
        """The value of a JavaScript expression, as JSON has it."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition, seconds=20):
        end = time.monotonic() + seconds
        while not self.run(condition):
            assert time.monotonic() < end, f"never true: {condition}"
            time.sleep(0.02)

    def resize(self, width, height=900):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)

    def theme(self, name):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def picture(self, path, whole=False):
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def close(self):
        self.process.terminate()
        self.process.wait()
        for end in self.pipe:
            os.close(end)
