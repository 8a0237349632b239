"""A browser for tests.

Chromium is driven over the WebDriver protocol (https://www.w3.org/TR/webdriver2/), which is JSON
over HTTP. `CLSER_CHROMEDRIVER` names the driver where it is not in the search path.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest

LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Browser:
    """A session of Chromium; commands as in the protocol."""

    def __init__(self, driver, profile):
        self._driver = subprocess.Popen(
            [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._url = ""
        for line in self._driver.stdout or ():
            if "started successfully on port" in line:
                self._url = f"http://127.0.0.1:{line.split()[-1].rstrip('.')}"
                break
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": [*arguments, f"--user-data-dir={profile}"]},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "unhandledPromptBehavior": "ignore",
        }
        try:
            session = self("POST", "session", {"capabilities": {"alwaysMatch": wanted}})
        except AssertionError:
            self._stop()
            raise
        self._url += f"/session/{session['sessionId']}"

    def __call__(self, verb, path, body=None):
        content = None if verb == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(f"{self._url}/{path}".rstrip("/"), content, method=verb)
        try:
            with LOCAL.open(request, timeout=3000) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(error.read().decode()) from None

    def run(self, script, *arguments):
        """Run JavaScript in the page."""
        return self("POST", "execute/sync", {"script": script, "args": list(arguments)})

    def press(self, *keys):
        """Press and release keys, one after another."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        source = {"type": "key", "id": "keys", "actions": actions}
        self("POST", "actions", {"actions": [source]})

    def log(self, kind):
        """Entries of a log since it was last read."""
        return self("POST", "se/log", {"type": kind})

    def emulate(self, width, theme):
        """Set the width of the window and the system's theme."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        for name, values in (("DeviceMetricsOverride", metrics), ("EmulatedMedia", media)):
            command = {"cmd": f"Emulation.set{name}", "params": values}
            self("POST", "goog/cdp/execute", command)

    def close(self):
        """End the browser and its driver."""
        try:
            self("DELETE", "")
        finally:
            self._stop()

    def _stop(self):
        self._driver.terminate()
        self._driver.communicate(timeout=300)


def open_browser(profile):
    """A browser with a new profile in a folder; skips the test where there is none."""
    driver = os.environ.get("CLSER_CHROMEDRIVER") or shutil.which("chromedriver")
    if driver is None:
        pytest.skip("no chromedriver: install Chromium and its driver, or set CLSER_CHROMEDRIVER")
    try:
        return Browser(driver, profile)
    except AssertionError as error:
        if "binary" in str(error):
            pytest.skip(f"{driver} finds no Chromium")
        raise
