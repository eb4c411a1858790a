"""The manual opened as files, as somebody who downloaded it does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from selenium.webdriver.common.by import By

from browsing import logs, needs_browser, show, wait
from imports import ROOT

pytestmark = needs_browser


def test_the_search_works_from_files_and_without_a_network(browser, tmp_path: Path):
    build = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, check=True)
    logs(browser)
    show(browser, 1280)
    browser.get((tmp_path / "index.html").as_uri())
    browser.find_element(By.CSS_SELECTOR, ".md-search__input").send_keys("glossary")
    page = ".md-search-result__link[href*='glossary.html']"
    wait(browser, lambda: browser.find_elements(By.CSS_SELECTOR, page))
    console, requests = logs(browser)
    assert console == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
