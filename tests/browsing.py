"""A headless Chromium for tests of pages; the fixture `browser` is in conftest.py."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.support.ui import WebDriverWait

BROWSER = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
needs_browser = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="needs chromium and chromedriver on the PATH"
)
T = TypeVar("T")


def chromium(profile: Path) -> Iterator[webdriver.Chrome]:
    """A browser that writes down what its console and its network see."""
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def show(browser: webdriver.Chrome, width: int, scheme: str = "light") -> None:
    """An empty page of that width (px) and colour scheme."""
    browser.get("about:blank")
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def logs(browser: webdriver.Chrome) -> tuple[list[Any], list[str]]:
    """What the console and the network have seen since the last call."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    return browser.get_log("browser"), [url for url in requests if url != "about:blank"]


def wait(browser: webdriver.Chrome, condition: Callable[[], T], seconds: float = 60) -> T:
    """Look again and again until a condition is true; returns its value. None waits that long.

    The page may replace an element between finding and reading it; then it is looked at again.
    """
    replaced = [StaleElementReferenceException]
    return WebDriverWait(browser, seconds, ignored_exceptions=replaced).until(lambda _: condition())


def text_of(browser: webdriver.Chrome, element: Any) -> str:
    """The element's text as it is; WebDriver by itself replaces lone surrogates."""
    return json.loads(
        browser.execute_script("return JSON.stringify(arguments[0].textContent)", element)
    )


def contrast(one: str, other: str) -> float:
    """Contrast of two CSS colours by the formula of WCAG 2."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def widths(browser: webdriver.Chrome) -> tuple[int, int]:
    """How wide the page is and how wide its window; a wider page scrolls sideways."""
    script = "const e = document.documentElement; return [e.scrollWidth, e.clientWidth]"
    needed, given = browser.execute_script(script)
    return needed, given
