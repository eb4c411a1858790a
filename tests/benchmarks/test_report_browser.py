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
    return run([folder], folder.parent / "out")[-1].as_uri()


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


def shown(page, selector: str) -> list:
    return [node for node in page.find_elements(By.CSS_SELECTOR, selector) if node.is_displayed()]


def column(page, key: str) -> list[str]:
    """Cells of a column of the shown leaderboard, from top to bottom."""
    script = """
        const board = document.querySelector(".board:not([hidden])");
        const place = board.querySelector(`th[data-key="${arguments[0]}"]`).cellIndex;
        return [...board.querySelectorAll("tbody tr:not([hidden])")]
            .map((row) => row.cells[place].textContent.trim());"""
    return page.execute_script(script, key)


def sort(page, key: str) -> str | None:
    (heading,) = shown(page, f'.board th[data-key="{key}"]')
    heading.find_element(By.TAG_NAME, "button").click()
    return heading.get_attribute("aria-sort")


def count(page) -> str:
    return page.find_element(By.ID, "prompt-count").text


def choose(page, field: str, value: str) -> None:
    element = page.find_element(By.CSS_SELECTOR, f"#prompt-filter [name={field}]")
    if field in ("agents", "text"):
        element.clear()
        element.send_keys(value)
    else:
        Select(element).select_by_value(value)


def test_every_column_sorts_both_ways(page):
    assert column(page, "reward") == sorted(column(page, "reward"), reverse=True)
    assert not shown(page, '.board th[data-key="reward_iqm"]')
    page.find_element(By.ID, "further").click()
    keys = [heading.get_attribute("data-key") for heading in shown(page, ".board th[data-key]")]
    assert "reward_iqm" in keys
    for key in keys:
        for direction in (sort(page, key), sort(page, key)):
            assert direction in ("ascending", "descending")
        cells = [cell.split(" to ")[0] for cell in column(page, key)]
        if key != "agent":
            cells = [float(cell) for cell in cells]
        assert cells == sorted(cells, reverse=direction == "descending"), key
    assert len(shown(page, '.board thead th:not([aria-sort="none"])')) == 1


def test_filter_agents_and_choose_a_split(page):
    field = page.find_element(By.ID, "agent-filter")
    field.send_keys("S")
    assert sorted(column(page, "agent")) == ["most", "search *", "worse"]
    field.send_keys("earch")
    Select(page.find_element(By.ID, "split")).select_by_visible_text("unseen")
    assert column(page, "agent") == ["search *"]
    assert page.find_element(By.ID, "agent-count").text == "1 of 5 agents"
    page.refresh()  # the address has kept the split
    assert len(column(page, "agent")) == len(AGENTS)
    (caption,) = shown(page, ".board caption")
    assert "toy v2, unseen" in caption.text
    (drawing,) = shown(page, ".first [role=img]")
    assert "half: ratio 0.500, similarity 0.750" in drawing.get_attribute("aria-label")
    assert "search *" in drawing.get_attribute("textContent")
    page.find_element(By.CSS_SELECTOR, "#analyses summary").click()
    assert shown(page, "#analyses tbody tr:last-child th")[0].text == "<i>"


def test_the_first_screen_holds_the_headline_the_chart_and_the_table(page):
    page.set_window_size(1280, 800)
    big, *_ = shown(page, ".headline .big")
    (drawing,), (board,) = shown(page, ".first [role=img]"), shown(page, ".board table")
    assert max(big.rect["y"], drawing.rect["y"], board.rect["y"]) < 720


def test_a_phone_shows_agent_reward_ratio_and_survival_first(browser, page, address):
    show(browser, 390)
    browser.get(address)
    keys = [heading.get_attribute("data-key") for heading in shown(browser, ".board th[data-key]")]
    assert keys == ["agent", "reward", "compression_ratio", "survival_rate"]
    browser.find_element(By.ID, "further").click()
    assert "seeds" in [h.get_attribute("data-key") for h in shown(browser, ".board th[data-key]")]


def test_filter_and_turn_pages_of_prompts(page):
    assert count(page) == "60 of 60 prompts match"
    for field, value, left in (
        ("family", "fruit", 30), ("survived", "all", 0), ("survived", "some", 30),
        ("agents", "worse", 0), ("survived", "none", 30), ("survived", "", 30),
    ):  # fmt: skip
        choose(page, field, value)
        wait(page, lambda left=left: count(page) == f"{left} of 60 prompts match")
    page.find_element(By.ID, "next").click()
    assert page.find_element(By.ID, "page-number").text == "Page 2 of 2"
    assert len(shown(page, "#prompt-list > li")) == 10
    page.refresh()  # the address has kept it all
    assert page.find_element(By.ID, "page-number").text == "Page 2 of 2"
    choose(page, "text", "count 29 PEARS")
    wait(page, lambda: count(page) == "2 of 60 prompts match")


def test_agents_stand_side_by_side(page):
    names = "return [...document.querySelectorAll('.view h4')].map((node) => node.textContent)"
    assert page.execute_script(names) == list(AGENTS)[::-1]
    assert len(shown(page, ".view .prompt del")) == len(AGENTS)
    choose(page, "agents", "half SEA")
    wait(page, lambda: page.execute_script(names) == ["search", "half"])
    left, right = shown(page, ".view")
    assert left.rect["y"] == right.rect["y"]
    assert left.rect["x"] + left.rect["width"] <= right.rect["x"]


def test_open_a_prompt_by_keyboard(page):
    choose(page, "agents", "half")
    choose(page, "text", "pears")
    choose(page, "split", "0.seen")
    wait(page, lambda: count(page) == "29 of 60 prompts match")
    third = page.find_elements(By.CSS_SELECTOR, "#prompt-list > li > details > summary")[1]
    third.send_keys(Keys.ENTER)
    opened = wait(page, lambda: shown(page, ".opened")[1:])[0]
    prompt = opened.find_element(By.CSS_SELECTOR, ".prompt")
    assert prompt.get_attribute("textContent") == "😀 Count 2 pears\nnow"
    (dropped,) = prompt.find_elements(By.TAG_NAME, "del")
    assert dropped.get_attribute("textContent") == "Count "
    for name, text in {"original": "answer 2", "compressed": "answer 2", "gold": "hi"}.items():
        assert opened.find_element(By.CSS_SELECTOR, f".{name}").text == text
    opened.find_element(By.CSS_SELECTOR, ".view summary").send_keys(Keys.ENTER)
    terms = wait(page, lambda: shown(page, ".terms"))[0].text.split("\n")
    assert terms[terms.index("reward") + 1] == "0.102"
    assert terms[terms.index("similarity") + 1] == "0.750"
    wait(page, lambda: "open=" in page.current_url)
    page.refresh()
    (prompt,) = shown(page, ".opened .prompt")
    assert "Count 2 pears" in prompt.text


def test_hostile_prompt_is_text(page):
    choose(page, "text", "alert(1)")
    wait(page, lambda: count(page) == "2 of 60 prompts match")
    wait(page, lambda: shown(page, ".opened"))
    prompt = page.find_element(By.CSS_SELECTOR, ".prompt")
    assert text_of(page, prompt) == HOSTILE
    dropped = [text_of(page, part) for part in prompt.find_elements(By.TAG_NAME, "del")]
    assert dropped == [HOSTILE[0:8], HOSTILE[70:72]]
    assert page.find_element(By.CSS_SELECTOR, ".compressed").text == "<b>bold</b>"
    assert len(page.find_elements(By.TAG_NAME, "script")) == 2
    assert not page.find_elements(By.CSS_SELECTOR, "img, b")


def test_phone_has_no_horizontal_scroll(browser, page, address):
    show(browser, 360)
    browser.get(address)
    browser.find_element(By.ID, "further").click()
    opening = "for (const d of document.querySelectorAll('details')) d.open = true"
    browser.execute_script(opening)
    wait(browser, lambda: len(shown(browser, ".opened")) == 20)
    needed, given = widths(browser)
    assert needed <= given <= 360


def test_texts_and_drawings_have_contrast_in_light_and_dark(browser, page, address):
    for scheme in ("light", "dark"):
        show(browser, 1200, scheme)
        browser.get(address)
        wait(browser, lambda: browser.find_elements(By.TAG_NAME, "del"))
        found = browser.execute_script("""
            const style = (node) => getComputedStyle(node);
            const all = (selector) => [...document.querySelectorAll(selector)].map(style);
            const ground = style(document.body).backgroundColor;
            return [
                ...all("body, .note, .status, a, caption").map((s) => [s.color, ground, 4.5]),
                ...all(".drawing text").map((s) => [s.fill, ground, 4.5]),
                ...all(".drawing use").map((s) => [s.stroke, ground, 3]),
                ...all("del").map((s) => [s.color, s.backgroundColor, 4.5]),
            ];""")
        assert len(found) > 50
        assert [case for case in found if contrast(*case[:2]) < case[2]] == []


def test_large_folder_shows_a_sample_a_page_at_a_time_and_prints(browser, tmp_path):
    file = run([report_folder(tmp_path / "run", prompts=2000)], tmp_path / "out")[-1]
    assert file.stat().st_size <= 2_000_000
    browser.get(file.as_uri())
    note = browser.find_element(By.ID, "sample-note").text
    sample = int(note.removeprefix("A sample: ").split(" ")[0].replace(",", ""))
    assert 500 < sample < 4000
    assert f"{sample:,} of 4,000 prompts" in note
    assert len(browser.find_elements(By.CSS_SELECTOR, "#prompt-list > li")) == 20
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    box = browser.find_element(By.CSS_SELECTOR, ".board .scroll")
    assert box.value_of_css_property("overflow") == "visible"
    assert not shown(browser, "#prompt-filter")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
