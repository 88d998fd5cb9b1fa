"""The page in a real browser: sorting, filtering, plots, themes, a phone's width, and names that try to break out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from page_store import HOSTILE_DATASET, HOSTILE_SEARCHER, IMAGE, TEMPLATE, write_page_of
from playwright.sync_api import Browser, Page, sync_playwright

from reports.drawing.base import Report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the program chromium or google-chrome")


@dataclass
class Watched:
    """A page with what it said, asked for and opened."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return write_page_of(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        with playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS)) as launched:
            yield launched


def visit(browser: Browser, report: Report, width: int = 1280, theme: str = "light", before: str = "") -> Watched:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=theme)  # type: ignore[arg-type]
    watched = Watched(page)
    page.on("console", lambda message: watched.complaints.append(message.text))
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    page.on("request", lambda request: watched.requests.append(request.url))
    page.on("dialog", lambda dialog: (watched.dialogs.append(dialog.message), dialog.dismiss()))
    if before:
        page.add_init_script(before)
    page.goto(report.page.as_uri())
    return watched


@pytest.fixture(scope="module")
def watched(browser: Browser, report: Report) -> Iterator[Watched]:
    """One page for all tests that leave it as it was, but for the order of its rows; whatever they do, it is quiet."""
    found = visit(browser, report)
    draw_all(found.page)
    found.page.locator("details summary").first.click()
    yield found
    assert (found.complaints, found.dialogs) == ([], [])
    found.page.close()


def draw_all(page: Page) -> None:
    """Every plot, as when all of the page has been scrolled through."""
    page.evaluate("Promise.all([...document.querySelectorAll('figure.interactive')].map(draw))")


def column(page: Page, heading: str) -> list[str]:
    """Visible texts of a column of the table of searches."""
    script = """heading => {
        const table = document.getElementById("searches-table");
        const place = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent.startsWith(heading));
        const shown = [...table.tBodies[0].rows].filter((row) => !row.hidden);
        return shown.map((row) => row.cells[place].textContent.trim());
    }"""
    found: list[str] = page.evaluate(script, heading)
    return found


# ---- what the page does by itself


def test_nothing_goes_wrong_and_nothing_leaves_the_page(watched: Watched, report: Report) -> None:
    assert watched.page.locator("svg.main-svg").count() >= 8
    assert watched.complaints == []
    assert watched.dialogs == []
    assert [url for url in watched.requests if not url.startswith("data:")] == [report.page.as_uri()]


def test_hostile_names_are_shown_as_text(watched: Watched) -> None:
    page = watched.page
    assert page.locator("img:not([src^='data:image/'])").count() == 0
    assert page.locator("b, i, sub, sup").count() == 0
    text = page.locator("main").inner_text()
    for name in (HOSTILE_SEARCHER.removeprefix("my."), HOSTILE_DATASET, f"ValueError: {TEMPLATE} {IMAGE}"):
        assert name in text
    legends = page.locator(".legendtext").evaluate_all("texts => texts.map((text) => text.textContent)")
    assert without_spaces(HOSTILE_SEARCHER.removeprefix("my.")) in map(without_spaces, legends)
    learning = page.locator("figure.interactive", has_text="Learning curves").locator("select")
    learning.last.select_option(label="FID, samples")
    titles = page.locator(".ytitle").evaluate_all("texts => texts.map((text) => text.textContent)")
    assert any(without_spaces(IMAGE) in without_spaces(title) for title in titles)
    assert watched.dialogs == []


def without_spaces(text: str) -> str:
    """Of text in several lines, which plotly.js keeps apart."""
    return "".join(text.split())


def test_plots_have_no_button_that_uploads(watched: Watched) -> None:
    buttons = watched.page.locator(".modebar-btn").evaluate_all("all => all.map((one) => one.dataset.title)")
    assert set(buttons) == {"Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"}


# ---- the table


def test_sorts_numbers_both_ways_with_missing_ones_last(watched: Watched) -> None:
    page = watched.page
    heading = page.locator("#searches-table th", has_text="reconstruction NLL")
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    rising = column(page, "reconstruction NLL")
    assert rising[:4] == ["1.000", "1.000", "10.00", "10.10"] and rising[-3:] == ["–", "–", "–"]  # as text, 10 < 2
    numbers = [float(text) for text in rising[:-3]]
    assert numbers == sorted(numbers)
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert column(page, "reconstruction NLL") == [*(rising[:-3][::-1]), "–", "–", "–"]


def test_sorts_by_keyboard_and_one_column_at_a_time(watched: Watched) -> None:
    page = watched.page
    page.locator("#searches-table th button", has_text="latent size").focus()
    page.keyboard.press("Enter")
    assert column(page, "latent size")[:3] == ["6", "7", "8"]
    page.locator("#searches-table th button", has_text="searcher").focus()
    page.keyboard.press("Space")
    assert column(page, "searcher")[:4] == ["ALD"] * 4
    assert page.locator("#searches-table [aria-sort]").count() == 1


def test_filters_by_text_and_by_choice(watched: Watched) -> None:
    page = watched.page
    assert page.locator("#filter-count").inner_text() == "14 of 14 searches"
    searcher, status = (page.get_by_role("combobox", name=name) for name in ("Searcher", "Status"))
    words = page.get_by_role("searchbox")
    searcher.select_option("ald")
    status.select_option("done")
    assert sorted(column(page, "seed")) == ["0", "1", "2"]
    assert page.locator("#filter-count").inner_text() == "3 of 14 searches"
    searcher.select_option(HOSTILE_SEARCHER)
    assert column(page, "dataset") == [HOSTILE_DATASET]
    searcher.select_option("")
    status.select_option("")
    words.fill("valueerror ald")
    assert column(page, "status") == ["✗ failed"]
    words.fill("no such thing")
    assert column(page, "status") == []
    words.fill("")
    assert len(column(page, "status")) == 14


# ---- plots


def hover(page: Page, figure: int, place: int) -> str:
    """What is said of a plot's marker."""
    plot = page.locator("figure.interactive").nth(figure)
    plot.scroll_into_view_if_needed()
    marker = plot.locator(".scatterlayer path.point").nth(place)
    box = marker.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    plot.locator(".hovertext").first.wait_for()
    return plot.locator(".hovertext").first.text_content() or ""


def test_hover_shows_the_run(watched: Watched) -> None:
    found = hover(watched.page, 1, 1)  # of the second plot, quality against cost, the grid's second seed
    for part in ("Grid, seed 1", "latent size 8", "digits-3fa2c19b77-grid-1", "10 GFLOP", "10.1"):
        assert part in found


def test_hover_shows_the_run_of_a_line(watched: Watched) -> None:
    page = watched.page
    plot = page.locator("figure.interactive", has_text="Learning curves").first
    plot.scroll_into_view_if_needed()
    script = """(plot) => {
        const { left, top } = plot.getBoundingClientRect();
        const { xaxis, yaxis } = plot._fullLayout;
        const upper = plot._fullData.filter((trace) => trace.yaxis === "y");
        const line = upper.find((trace) => trace.hovertemplate.startsWith("ALD, seed 1"));
        return [left + xaxis._offset + xaxis.d2p(3), top + yaxis._offset + yaxis.d2p(line.y[2])];
    }"""
    page.mouse.move(*plot.locator(".plot").evaluate(script))
    found = plot.locator(".hovertext").first.text_content() or ""
    for part in ("ALD, seed 1", "latent size 12", "digits-3fa2c19b77-ald-1", "epoch 3: "):
        assert part in found


def test_a_plot_shows_another_metric(watched: Watched) -> None:
    plot = watched.page.locator("figure.interactive").first
    assert "loss, −ELBO" in (plot.locator(".ytitle").text_content() or "")
    plot.locator("select").select_option(label="reconstruction NLL")
    assert "reconstruction NLL (nats/image) ↓" in (plot.locator(".ytitle").text_content() or "")
    plot.locator("select").select_option(index=0)


# ---- themes, widths, downloads

CONTRASTS = """() => {
    const parse = (color) => color.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
        const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        const [x, y, z] = [r, g, b].map((v) => linear(v / 255));
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const behind = (element) => {
        for (let e = element; e; e = e.parentElement) {
            const [r, g, b, a = 1] = parse(getComputedStyle(e).backgroundColor);
            if (a === 1) return [r, g, b];
        }
    };
    return [...document.querySelectorAll("body *")]
        .filter((e) => [...e.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
        .filter((e) => !["SCRIPT", "STYLE", "NOSCRIPT", "OPTION"].includes(e.tagName) && e.getClientRects().length)
        .map((e) => {
            const style = getComputedStyle(e);
            const text = light(parse(e instanceof SVGElement ? style.fill : style.color));
            const ground = light(behind(e));
            return [(Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05), e.outerHTML.slice(0, 80)];
        });
}"""


def assert_readable(page: Page) -> None:
    """Every text has the contrast that WCAG 2.2 asks for (1.4.3)."""
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 300
    assert min(contrasts)[0] >= 4.5, min(contrasts)


def test_text_can_be_read(watched: Watched) -> None:
    assert_readable(watched.page)


def test_a_dark_system_gets_a_dark_page(browser: Browser, report: Report) -> None:
    page = visit(browser, report, theme="dark").page
    draw_all(page)
    page.locator("details summary").first.click()
    assert page.get_by_role("button", name="Light theme").count() == 1
    assert_readable(page)
    page.close()


def test_the_theme_changes_with_its_plots_and_is_kept(browser: Browser, report: Report) -> None:
    watched = visit(browser, report)
    page = watched.page
    page.evaluate("draw(document.querySelector('figure.interactive'))")
    ground = "getComputedStyle(document.body).backgroundColor"
    plotted = "document.querySelector('svg.main-svg').style.background"
    grid = "document.querySelector('.legendpoints path.scatterpts').style.fill"  # the first searcher's, black in print
    before = page.evaluate(f"[{ground}, {plotted}]")
    page.get_by_role("button", name="Dark theme").click()
    assert page.evaluate(f"[{ground}, {plotted}]") == ["rgb(20, 23, 26)", "rgb(20, 23, 26)"] != before
    assert page.evaluate(grid) == "rgb(255, 255, 255)"
    page.reload()
    assert page.evaluate(ground) == "rgb(20, 23, 26)"
    page.get_by_role("button", name="Light theme").click()
    assert page.evaluate(ground) == before[0]
    assert watched.complaints == []
    page.close()


def test_a_browser_that_keeps_nothing(browser: Browser, report: Report) -> None:
    denied = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('denied'); } })"
    watched = visit(browser, report, before=denied)
    watched.page.get_by_role("button", name="Dark theme").click()
    assert watched.page.get_by_role("button", name="Light theme").count() == 1
    assert watched.complaints == []
    watched.page.close()


def test_a_phone_scrolls_tables_not_the_page(browser: Browser, report: Report) -> None:
    watched = visit(browser, report, width=360)
    draw_all(watched.page)
    watched.page.locator("details summary").first.click()
    assert watched.page.evaluate("document.documentElement.scrollWidth") == 360
    boxes = watched.page.evaluate("[...document.querySelectorAll('.scroll')].map((b) => [b.scrollWidth, b.tabIndex])")
    assert max(width for width, _ in boxes) > 1000
    assert {index for _, index in boxes} == {0}  # so that a keyboard can scroll them
    assert watched.complaints == []
    watched.page.close()


def test_downloads_an_embedded_table(watched: Watched, report: Report) -> None:
    with watched.page.expect_download() as download:
        watched.page.get_by_role("link", name="comparison.csv").click()
    assert download.value.path().read_bytes() == report.tables[0].read_bytes()


def test_structure_for_those_who_do_not_see_it(watched: Watched) -> None:
    page = watched.page
    assert page.locator("html").get_attribute("lang") == "en"
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map((h) => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - one <= 1 for one, after in zip(levels, levels[1:], strict=False))  # no level is skipped
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.locator(".skip").focus()
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#main"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
