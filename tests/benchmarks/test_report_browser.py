"""The page in a real browser, without a network."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from benchmarks.report.command import run
from browsing import contrast, logs, needs_browser, show, text_of, wait, widths
from report_fixtures import AGENTS, HOSTILE, report_folder

pytestmark = needs_browser


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    folder = report_folder(tmp_path_factory.mktemp("report") / "run")
    return run([folder], folder.parent / "out")[0].as_uri()


@pytest.fixture
def page(browser, address):
    """The page, freshly loaded at 1200 px in light mode; afterwards it must have been quiet."""
    show(browser, 1200)
    logs(browser)
    browser.get(address)
    yield browser
    console, requests = logs(browser)
    assert console == []
    assert {url.split("#")[0] for url in requests if not url.startswith("data:")} <= {address}


def column(page, key: str) -> list[str]:
    """Cells of a column of the leaderboard, from top to bottom."""
    script = """
        const keys = [...document.querySelectorAll("#board thead th")].map((th) => th.dataset.key);
        return [...document.querySelectorAll("#board tbody tr")]
            .map((row) => row.children[keys.indexOf(arguments[0])].textContent);"""
    return page.execute_script(script, key)


def heading(page, key: str):
    return page.find_element(By.CSS_SELECTOR, f'#board th[data-key="{key}"]')


def count(page) -> str:
    return page.find_element(By.ID, "prompt-count").text


def choose(page, field: str, value: str) -> None:
    Select(page.find_element(By.CSS_SELECTOR, f"#prompt-filter [name={field}]")).select_by_value(
        value
    )


def search(page, text: str) -> None:
    field = page.find_element(By.CSS_SELECTOR, "#prompt-filter [name=text]")
    field.clear()
    field.send_keys(text)


def test_sort_by_click(page):
    assert heading(page, "reward").get_attribute("aria-sort") == "descending"
    rewards = [float(cell) for cell in column(page, "reward")]
    assert rewards == sorted(rewards, reverse=True)
    button = heading(page, "compression_ratio").find_element(By.TAG_NAME, "button")
    button.click()
    falling = sorted(AGENTS.values(), reverse=True)
    assert [float(cell) for cell in column(page, "compression_ratio")] == falling
    assert heading(page, "compression_ratio").get_attribute("aria-sort") == "descending"
    assert heading(page, "reward").get_attribute("aria-sort") == "none"
    button.click()
    assert [float(cell) for cell in column(page, "compression_ratio")] == falling[::-1]
    assert heading(page, "compression_ratio").get_attribute("aria-sort") == "ascending"


def test_sort_by_keyboard(page):
    button = heading(page, "agent").find_element(By.TAG_NAME, "button")
    page.execute_script("arguments[0].focus()", button)
    page.switch_to.active_element.send_keys(Keys.ENTER)
    names = ["half", "keep_all", "most", "search *", "worse"]
    assert column(page, "agent") == names
    page.switch_to.active_element.send_keys(Keys.SPACE)  # the focus has stayed
    assert column(page, "agent") == names[::-1]
    page.switch_to.active_element.send_keys(Keys.TAB, Keys.ENTER)
    assert heading(page, "seeds").get_attribute("aria-sort") == "descending"


def test_every_column_sorts_both_ways(page):
    page.find_element(By.ID, "further").click()
    keys = page.execute_script(
        "return [...document.querySelectorAll('#board th[data-key]')].map((th) => th.dataset.key)"
    )
    assert "reward_iqm" in keys
    for key in keys:
        for _ in range(2):
            heading(page, key).find_element(By.TAG_NAME, "button").click()
            direction = heading(page, key).get_attribute("aria-sort")
            cells = [cell.split(" to ")[0] for cell in column(page, key)]
            if key != "agent":
                cells = [float(cell.replace(",", "")) for cell in cells]
            assert cells == sorted(cells, reverse=direction == "descending"), key


def test_filter_agents(page):
    field = page.find_element(By.ID, "agent-filter")
    field.send_keys("S")
    assert sorted(column(page, "agent")) == ["most", "search *", "worse"]
    field.send_keys("earch")
    assert column(page, "agent") == ["search *"]
    assert page.find_element(By.ID, "agent-count").text == "1 of 5 agents"


def test_split_is_kept_in_the_address(page):
    Select(page.find_element(By.ID, "split")).select_by_visible_text("unseen")
    caption = page.find_element(By.CSS_SELECTOR, "#board caption")
    assert "unseen" in caption.text
    page.refresh()
    assert "unseen" in page.find_element(By.CSS_SELECTOR, "#board caption").text


def test_charts_are_there_and_named(page):
    chart = page.find_element(By.CSS_SELECTOR, "#scatter svg")
    ids = chart.get_attribute("aria-labelledby").split()
    texts = [page.find_element(By.ID, name).get_attribute("textContent") for name in ids]
    assert texts[0] == "Compression ratio and similarity, seen"
    assert "Pareto front: keep_all, half, most." in texts[1]
    assert len(chart.find_elements(By.CSS_SELECTOR, "circle")) == 4
    assert len(page.find_elements(By.CSS_SELECTOR, "#learning polyline")) == 2
    assert len(page.find_elements(By.CSS_SELECTOR, "#analyses polyline")) == 1
    assert page.find_element(By.CSS_SELECTOR, "#analyses tbody tr:last-child th").text == "<i>"


def test_filter_and_turn_pages_of_prompts(page):
    assert count(page) == "300 of 300 results match"
    choose(page, "agent", "worse")
    wait(page, lambda: count(page) == "60 of 300 results match")
    choose(page, "family", "fruit")
    wait(page, lambda: count(page) == "30 of 300 results match")
    choose(page, "survived", "yes")
    wait(page, lambda: count(page) == "0 of 300 results match")
    choose(page, "survived", "no")
    wait(page, lambda: count(page) == "30 of 300 results match")
    page.find_element(By.ID, "next").click()
    assert page.find_element(By.ID, "page-number").text == "Page 2 of 2"
    assert len(page.find_elements(By.CSS_SELECTOR, "#prompt-list > li")) == 10
    page.refresh()  # the address has kept it all
    assert page.find_element(By.ID, "page-number").text == "Page 2 of 2"
    search(page, "count 29 PEARS")
    wait(page, lambda: count(page) == "2 of 300 results match")


def test_open_a_prompt_by_keyboard(page):
    search(page, "Count 2 pears")
    choose(page, "agent", "half")
    choose(page, "split", "0.0")
    wait(page, lambda: count(page) == "1 of 300 results match")
    summary = page.find_element(By.CSS_SELECTOR, "#prompt-list summary")
    page.execute_script("arguments[0].focus()", summary)
    page.switch_to.active_element.send_keys(Keys.ENTER)
    opened = wait(page, lambda: page.find_elements(By.CSS_SELECTOR, ".opened"))[0]
    prompt = opened.find_element(By.CSS_SELECTOR, ".prompt")
    assert prompt.get_attribute("textContent") == "😀 Count 2 pears\nnow"
    (dropped,) = prompt.find_elements(By.TAG_NAME, "del")
    assert dropped.get_attribute("textContent") == "Count "
    assert "line-through" in dropped.value_of_css_property("text-decoration")
    assert opened.find_element(By.CSS_SELECTOR, ".original").text == "answer 2"
    assert opened.find_element(By.CSS_SELECTOR, ".compressed").text == "answer 2"
    assert opened.find_element(By.CSS_SELECTOR, ".gold").text == "hi"
    terms = opened.find_element(By.CSS_SELECTOR, ".terms").text.split("\n")
    assert terms[terms.index("reward") + 1] == "0.102"
    assert terms[terms.index("similarity") + 1] == "0.750"
    wait(page, lambda: "open=" in page.current_url)
    page.refresh()
    assert page.find_elements(By.CSS_SELECTOR, ".opened .prompt")


def test_hostile_prompt_is_text(page):
    search(page, "alert(1)")
    wait(page, lambda: count(page) == "10 of 300 results match")
    page.find_element(By.CSS_SELECTOR, "#prompt-list summary").click()
    wait(page, lambda: page.find_elements(By.CSS_SELECTOR, ".opened"))
    prompt = page.find_element(By.CSS_SELECTOR, ".prompt")
    assert text_of(page, prompt) == HOSTILE
    dropped = [text_of(page, part) for part in prompt.find_elements(By.TAG_NAME, "del")]
    assert dropped == [HOSTILE[0:8], HOSTILE[70:72]]
    assert page.find_element(By.CSS_SELECTOR, ".compressed").text == "<b>bold</b>"
    assert len(page.find_elements(By.TAG_NAME, "script")) == 2
    assert not page.find_elements(By.CSS_SELECTOR, "img, b")


def test_keyboard_reaches_the_skip_link_first(page):
    page.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    link = page.switch_to.active_element
    assert link.text == "Skip to the results"
    assert link.value_of_css_property("outline-style") == "solid"
    link.send_keys(Keys.ENTER)
    assert page.current_url.endswith("#main")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_has_no_horizontal_scroll(browser, page, address, scheme):
    show(browser, 360, scheme)
    browser.get(address)
    browser.find_element(By.ID, "further").click()
    for summary in browser.find_elements(By.TAG_NAME, "summary")[:3]:
        browser.execute_script("arguments[0].click()", summary)
    wait(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, ".opened")) == 2)
    needed, given = widths(browser)
    assert needed <= given <= 360
    scrolls = (
        "const box = document.querySelector('.scroll'); return box.scrollWidth > box.clientWidth"
    )
    assert browser.execute_script(scrolls)  # the table does, in its own box


def test_both_colour_schemes_have_contrast(browser, page, address):
    grounds = {}
    for scheme in ("light", "dark"):
        show(browser, 1200, scheme)
        browser.get(address)
        browser.find_element(By.CSS_SELECTOR, "#prompt-list summary").click()
        wait(browser, lambda: browser.find_elements(By.TAG_NAME, "del"))

        def colour(selector: str, name: str) -> str:
            return browser.find_element(By.CSS_SELECTOR, selector).value_of_css_property(name)

        grounds[scheme] = colour("body", "background-color")
        for selector in (
            "body",
            ".note",
            ".status",
            "nav a",
            ".legend span",
            "#scatter g.c0",
            ".c1",
        ):
            assert contrast(colour(selector, "color"), grounds[scheme]) >= 4.5, (scheme, selector)
        dropped = [colour("del", name) for name in ("color", "background-color")]
        assert contrast(*dropped) >= 4.5
    assert contrast(*grounds.values()) > 10


def test_printing_shows_tables_whole(browser, page):
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    box = browser.find_element(By.CSS_SELECTOR, "#board .scroll")
    assert box.value_of_css_property("overflow") == "visible"
    assert not browser.find_element(By.ID, "prompt-filter").is_displayed()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_large_folder_shows_a_sample_a_page_at_a_time(browser, tmp_path):
    folder = report_folder(tmp_path / "run", prompts=2000)
    file = run([folder], tmp_path / "out")[0]
    assert file.stat().st_size < 2_000_000
    browser.get(file.as_uri())
    note = browser.find_element(By.ID, "sample-note").text
    shown = int(note.removeprefix("A sample: ").split(" ")[0].replace(",", ""))
    assert 500 < shown < 4000
    assert f"{shown:,} of 4,000 prompts" in note
    assert len(browser.find_elements(By.CSS_SELECTOR, "#prompt-list > li")) == 20
    search(browser, "no prompt says this")
    wait(browser, lambda: count(browser).startswith("0 of "))
