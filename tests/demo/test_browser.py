"""The demo's page in a real browser; neither it nor its server reaches another machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from browsing import contrast, logs, needs_browser, show, text_of, wait, widths
from loopback_only import REFUSED
from pcrl_gym.demo.query import Query
from serving import free_port, served

pytestmark = needs_browser

PROMPT = "Could you please sort these words for me, I would be very happy: pear, fig, apple"
HOSTILE = "Sort: <script>alert(1)</script> ${alert(2)} {{value}} </div><img src=x onerror=alert(3)>"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Address of the page with the policy of the package and two agents of the clone."""
    port = free_port()
    command = ["tests/loopback_only.py", "agents", "demo", "--model", "micro"]
    command += ["--generator", "micro", "--agents", "stopwords,truncation"]
    with served([*command, "--port", port], "The demo is running at", HF_HUB_OFFLINE="0") as server:
        yield f"http://127.0.0.1:{port}/"
    assert REFUSED not in server.output


@pytest.fixture
def page(browser, address):
    """The browser; afterwards all must have been quiet."""
    logs(browser)
    yield browser
    expect_quiet(browser, address)


def expect_quiet(page, address: str) -> None:
    console, requests = logs(page)
    assert console == []
    assert [url for url in requests if not url.startswith((address, "data:"))] == []


def visit(page, address: str, width: int = 1200, scheme: str = "light", query: str = "") -> None:
    """Open the page and wait until it has read its address."""
    expect_quiet(page, address)
    show(page, width, scheme)
    logs(page)  # Gradio complains when its page is left while a stream of events is open
    page.get(address + (query or Query("Hi").address))  # not the example, which tests use as well
    wait(page, lambda: find(page, "#result .verdict, #result .problem"))
    wait(page, lambda: not find(page, "#result .wrap.generating, #result .wrap.translucent"))


def find(page, selector: str) -> list:
    return page.find_elements(By.CSS_SELECTOR, selector)


def one(page, selector: str):
    return page.find_element(By.CSS_SELECTOR, selector)


def told(page, name: str) -> str:
    return text_of(page, one(page, f"#result .{name}"))


def instruction(page):
    return one(page, "#instruction textarea")


def compress(page, prompt: str) -> None:
    """Type a prompt, press the button, and wait for the prompt in the result."""
    instruction(page).clear()
    instruction(page).send_keys(prompt)
    one(page, "#compress").click()
    shown = f"Instruction: {prompt}\nOutput: \n"
    wait(page, lambda: find(page, "#result .prompt") and told(page, "prompt") == shown)


def test_the_page_opens_with_an_answered_example(page, address):
    logs(page)
    show(page, 1200)
    page.get(address)
    wait(page, lambda: len(find(page, "#result .verdict")) == 2)
    assert instruction(page).get_attribute("value") == PROMPT
    agents = [text_of(page, heading) for heading in find(page, "#result .agent")]
    assert agents == ["policy micro", "policy micro, constraints protected"]


def test_type_compress_and_read_the_result(page, address):
    visit(page, address)
    compress(page, PROMPT)
    assert told(page, "survived") == "The answer survived: 81% of the tokens saved."
    assert told(page, "original-answer") == told(page, "compressed-answer") == "apple, fig, pear"
    assert told(page, "compressed") == "Instruction:  sort pear fig apple\nOutput: \n"
    struck = find(page, "#result .prompt del")
    assert text_of(page, struck[0]) == "Could you please"
    assert all("line-through" in part.value_of_css_property("text-decoration") for part in struck)
    terms = one(page, "#result .terms").text.split("\n")
    values = dict(zip(terms[::2], terms[1::2], strict=True))
    assert values == {
        "reward": "0.810", "similarity": "1.000", "compression ratio": "0.810",
        "drop rate": values["drop rate"], "tokens": "28 → 11",
    }  # fmt: skip


def test_the_link_restores_the_state(page, address):
    visit(page, address)
    one(page, "#free input").click()
    number = wait(page, lambda: one(page, "#rate input[type=number]"))
    wait(page, number.is_enabled)
    number.clear()
    number.send_keys("0.3", Keys.TAB)
    compress(page, PROMPT)
    kept = told(page, "compressed")
    link = one(page, "#result .link a").get_attribute("href")
    assert link.startswith(f"{address}?")
    visit(page, address, query=link.removeprefix(address))
    assert told(page, "compressed") == kept
    assert kept.startswith("Instruction: Could you please sort these words")
    wait(page, lambda: instruction(page).get_attribute("value") == PROMPT)
    assert not one(page, "#free input").is_selected()
    rate = one(page, "#rate input[type=number]")
    assert (rate.get_attribute("value"), rate.is_enabled()) == ("0.3", True)


def test_markup_in_a_prompt_stays_text(page, address):
    visit(page, address)
    scripts = len(find(page, "script"))
    compress(page, HOSTILE)
    assert len(find(page, "script")) == scripts
    assert not find(page, "#result img, #result script")
    # Through the address as well.
    visit(page, address, query=Query(HOSTILE).address)
    assert told(page, "prompt") == f"Instruction: {HOSTILE}\nOutput: \n"
    assert not find(page, "#result img, #result script")


def test_what_is_too_long_is_told(page, address):
    visit(page, address)
    instruction(page).send_keys(Keys.CONTROL, "a")
    instruction(page).send_keys(Keys.BACKSPACE)
    one(page, "#compress").click()
    wait(page, lambda: "prompt is empty" in one(page, "#result").text)
    text = "x" * 1001
    page.execute_script(
        "const field = arguments[0]; field.value = arguments[1];"
        "field.dispatchEvent(new Event('input', {bubbles: true}))",
        instruction(page), text,
    )  # fmt: skip
    one(page, "#compress").click()
    wait(page, lambda: "1,001 characters" in one(page, "#result").text)
    assert instruction(page).get_attribute("value") == text  # nothing was cut


def test_an_example_is_one_click(page, address):
    visit(page, address)
    label = "all but one"
    (button,) = (b for b in find(page, ".gallery-item") if b.text == label)
    button.click()
    wait(page, lambda: "stone, river, lamp" in one(page, "#result").text)
    assert told(page, "original-answer") == "stone, river, lamp"
    assert one(page, "#input textarea").get_attribute("value") == "stone river cloud lamp"


def test_an_agent_can_be_chosen_and_its_controls_follow(page, address):
    visit(page, address)
    one(page, "#agent input").click()
    names = ["policy micro", "policy micro, constraints protected", "stopwords", "truncation"]

    def listed() -> list[str]:
        return [option.text.lstrip("✓ \n") for option in find(page, "[role=option]")]

    wait(page, lambda: listed() == names)  # the list fades in
    find(page, "[role=option]")[2].click()
    wait(page, lambda: one(page, "#agent input").get_attribute("value") == "stopwords")
    wait(page, lambda: not one(page, "#free input").is_enabled())
    compress(page, PROMPT)
    left = "Instruction:  please sort words happy pear fig apple\nOutput: \n"
    assert told(page, "compressed") == left


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scroll_and_all_has_contrast(page, address, scheme):
    visit(page, address, 360, scheme, Query(PROMPT).address)
    needed, given = widths(page)
    assert needed <= given <= 360

    def colour(selector: str, name: str = "color") -> str:
        return one(page, selector).value_of_css_property(name)

    ground = colour("body", "background-color")
    assert (contrast(ground, "rgb(255, 255, 255)") < 1.5) == (scheme == "light")
    for selector in ("h1", ".lead", ".verdict", ".legend", "h2", "dt", "dd", ".link a"):
        assert contrast(colour(f".pcrl {selector}"), ground) >= 4.5, selector
    box = colour("#result .prompt", "background-color")
    assert contrast(colour("#result .prompt"), box) >= 7
    assert contrast(colour("#result .prompt i"), box) >= 4.5
    assert contrast(colour("#result del"), colour("#result del", "background-color")) >= 4.5
    assert contrast(colour("#compress"), colour("#compress", "background-color")) >= 4.5
    instruction(page).click()
    ring = colour("#instruction textarea", "box-shadow")
    assert ring.endswith(" 3px")
    assert contrast(ring[: ring.index(")") + 1], ground) >= 3
    visit(page, address, 360, scheme, Query("a", agent="nobody").address)
    assert contrast(colour("#result .problem"), ground) >= 4.5
