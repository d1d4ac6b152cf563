"""The HTML report in a real browser: it draws, answers to mouse and keyboard, and asks for nothing."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from suite.records import Records
from suite.report import write_report
from suite.store import open_store
from tests.suite.helpers import SMALL, wait_for
from tests.suite.report.test_predictors import FIRST, FIVE
from tests.suite.stores import begin, evaluations, finished, fisher, iterations, kept, matrix_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from selenium.webdriver.remote.webdriver import WebDriver
    from selenium.webdriver.remote.webelement import WebElement

pytestmark = pytest.mark.slow

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if os.environ.get("KFSVD_REQUIRE_BROWSER") != "1":  # CI sets it: what is missing is a failure there
    pytest.importorskip("selenium", reason="needs selenium")
    if BROWSER is None or DRIVER is None:
        pytest.skip("needs chromium and chromedriver", allow_module_level=True)

from selenium import webdriver  # noqa: E402  once it is known to be there
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

EVIL = "<script>alert(1)</script></script><!--"
OPTIONS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1280,1000 --force-prefers-reduced-motion"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for option in OPTIONS.split():
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior",
        {"behavior": "allow", "downloadPath": str(tmp_path_factory.getbasetemp() / "downloads")},
    )
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All done but SGD, which diverged on seed 1; KFAC and KPSVD with Fisher errors, KFAC with ranks."""
    folder = tmp_path_factory.mktemp("report")
    matrix = matrix_of(folder, SMALL.replace("A small matrix for tests.", json.dumps(EVIL)))
    with open_store(f"sqlite:///{folder}/store.sqlite") as store:
        for number, cell in enumerate(matrix.cells):
            rows = [
                fisher(n, i, 0.5, i / 60, 0.4, 0.3 + i / 600) for i in (30, 60) for n in ("linear1", "linear2", EVIL)
            ]
            kronecker = rows if cell.method.method in ("kfac", "kpsvd") else []
            ranks = (
                [kept(n, i, 10, i // 10) for i in (30, 60) for n in ("linear1", EVIL)]
                if cell.optimizer == "kfac"
                else []
            )
            if (cell.optimizer, cell.seed) == ("sgd", 1):
                explosion = [row._replace(loss=40.0 * 2**row.iteration) for row in iterations(9)]
                finished(store, cell, Records(explosion, evaluations([40.0]), []), "diverged")
            else:
                losses = evaluations([40.0, 30.0, 22.0, 15.0 + number / 10])
                finished(store, cell, Records(iterations(60), losses, kronecker, ranks))
        return page_of(store, matrix, folder)


def page_of(store: Any, matrix: Any, folder: Path) -> Path:
    write_report(
        store, matrix.spec, matrix.stage(None), folder / "out", command="c", formats=["html"], fingerprint=None
    )
    return folder / "out" / "report.html"


@pytest.fixture
def page(browser: WebDriver, report: Path) -> WebDriver:
    visit(browser, report)
    return browser


def visit(browser: WebDriver, path: Path) -> None:
    browser.get_log("performance")
    browser.get(path.as_uri())
    assert browser.execute_script("return document.documentElement.dataset.ready") == ""


def figure(page: WebDriver, name: str) -> WebElement:
    return page.find_element(By.ID, f"figure-digits-{name}")


def control(part: WebElement, name: str) -> WebElement:
    return part.find_element(By.CSS_SELECTOR, f'[data-control="{name}"]')


def drawn(part: WebElement, kind: str = "line") -> dict[str, str]:
    """Label → path of the lines of a kind."""
    paths = part.find_elements(By.CSS_SELECTOR, f'.stage path[class="line {kind}"]')
    return {str(path.get_attribute("data-label")): str(path.get_attribute("d")) for path in paths}


def fronts(part: WebElement) -> set[str]:
    return set(drawn(part))


def said(part: WebElement) -> str:
    return str(part.find_element(By.CSS_SELECTOR, ".stage svg > title").get_attribute("textContent"))


def seconds_to_show(browser: WebDriver, page: Path) -> float:
    begun = time.perf_counter()
    visit(browser, page)
    return time.perf_counter() - begun


def test_it_draws_without_an_error_or_a_request(page: WebDriver, report: Path) -> None:
    names = [f.get_attribute("id") for f in page.find_elements(By.CSS_SELECTOR, "figure.chart")]
    assert names == [*(f"figure-digits-{name}" for name in ("loss", "time", "fisher", "ranks")), "figure-profile"]
    assert fronts(figure(page, "loss")) == {"sgd", "adam", "kfac", "kpsvd"}
    assert len(figure(page, "time").find_elements(By.CSS_SELECTOR, ".stage rect.part")) == 4 * (4 + 1)
    assert page.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert asked == [report.as_uri()]
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0


def test_foreign_text_runs_nowhere(page: WebDriver) -> None:
    assert EVIL in page.find_element(By.TAG_NAME, "header").text
    assert EVIL in control(figure(page, "fisher"), "layer").text
    assert len(page.find_elements(By.CSS_SELECTOR, "script:not([type])")) == 1
    page.execute_script(
        "const s = document.createElement('script'); s.textContent = 'ran = 1'; document.body.append(s)"
    )
    assert page.execute_script("return typeof ran") == "undefined", "the policy forbids any other script"
    assert any("Content Security Policy" in entry["message"] for entry in page.get_log("browser"))


def test_a_diverged_run_has_a_cross_within_the_frame_in_every_view(page: WebDriver) -> None:
    part = figure(page, "loss")
    for name in ("iteration", "training seconds", "CPU seconds", "test", "log"):
        control(part, name).click()
        (cross,) = part.find_elements(By.CSS_SELECTOR, ".stage .cross")
        box, frame = cross.rect, part.find_element(By.CSS_SELECTOR, ".stage svg").rect
        assert frame["y"] <= box["y"] <= frame["y"] + frame["height"]
        assert frame["x"] <= box["x"] <= frame["x"] + frame["width"]


def test_toggles_change_the_chart_and_what_is_said_of_it(page: WebDriver) -> None:
    part = figure(page, "loss")
    before = drawn(part)
    shown = "shown: adam, kfac, kpsvd, sgd (1 of 2 diverged, ×)"
    assert said(part).endswith(f". against: iteration; loss: training; logarithmic axis; {shown}")
    control(part, "log").click()
    linear = drawn(part)
    assert linear["kfac"] != before["kfac"]
    assert "linear axis" in said(part)
    control(part, "training seconds").click()
    assert part.find_elements(By.CSS_SELECTOR, ".stage text.label")[-1].text == "training seconds"
    control(part, "kfac").click()
    assert fronts(part) == {"sgd", "adam", "kpsvd"}
    assert "kfac" not in said(part)
    control(part, "kfac").click()
    control(part, "smoothing").find_elements(By.TAG_NAME, "option")[1].click()
    assert "smoothed over 5 points" in said(part)
    assert drawn(part)["kfac"] != linear["kfac"]


def test_layers_and_kinds_of_error_are_chosen(page: WebDriver) -> None:
    part = figure(page, "fisher")
    assert fronts(part) == {"kfac", "kpsvd"}
    assert set(drawn(part, "optimum")) == {"kfac, best possible", "kpsvd, best possible"}
    before = drawn(part, "optimum")
    control(part, "held out").click()
    assert drawn(part, "optimum") != before
    layers = control(part, "layer").find_elements(By.TAG_NAME, "option")
    assert [layer.text for layer in layers] == ["mean over layers", EVIL, "linear1", "linear2"]
    layers[2].click()
    assert "layer: linear1; error: held out; linear axis" in said(part)
    ranks = figure(page, "ranks")
    before = drawn(ranks)
    control(ranks, "of outputs").click()
    assert drawn(ranks) != before
    assert "side: of outputs" in said(ranks)


def test_bars_show_shares_on_request(page: WebDriver) -> None:
    part = figure(page, "time")
    control(part, "share").click()
    assert "share of an iteration" in part.find_element(By.CSS_SELECTOR, ".stage svg").text
    control(part, "sgd").click()
    assert len(part.find_elements(By.CSS_SELECTOR, ".stage rect.part")) == 3 * (4 + 1)


def test_everything_is_reached_and_worked_by_the_keyboard(page: WebDriver) -> None:
    names = [
        c.get_attribute("data-control")
        for c in page.find_elements(By.CSS_SELECTOR, "#figure-digits-loss [data-control]")
    ]
    reached: list[str | None] = []
    for _ in range(60):
        page.switch_to.active_element.send_keys(Keys.TAB)
        reached.append(page.switch_to.active_element.get_attribute("data-control"))
        if page.switch_to.active_element.text == "data (CSV)":
            break
    assert [name for name in reached if name] == [
        n for n in names if n not in ("training seconds", "CPU seconds", "test")
    ]
    part = figure(page, "loss")
    control(part, "iteration").send_keys(Keys.ARROW_RIGHT)
    assert "against: training seconds" in said(part), "a group of radio buttons is one stop; arrows choose"
    control(part, "adam").send_keys(Keys.SPACE)
    assert "adam" not in fronts(part)
    slider = part.find_element(By.CSS_SELECTOR, "input[type=range]")
    slider.send_keys(Keys.HOME)
    output = part.find_element(By.TAG_NAME, "output")
    assert output.text.splitlines()[0] == "training seconds 0"
    assert "kpsvd 30 (30 to 30)" in output.text
    outline = page.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the focus is seen"


def test_labels_belong_to_controls(page: WebDriver) -> None:
    unnamed = page.execute_script(
        "return [...document.querySelectorAll('input, select')].filter((c) => !c.labels.length || "
        "!c.labels[0].textContent.trim()).length"
    )
    assert unnamed == 0


def test_the_page_is_dark_where_the_system_is_and_when_asked_to(page: WebDriver) -> None:
    def look() -> tuple[str, str]:
        adam = '.stage path[data-label="adam"]'
        background = page.execute_script("return getComputedStyle(document.body).backgroundColor")
        stroke = page.execute_script(f"return getComputedStyle(document.querySelector('{adam}')).stroke")
        return background, stroke

    light, dark = ("rgb(253, 253, 252)", "rgb(0, 0, 0)"), ("rgb(21, 24, 28)", "rgb(244, 244, 244)")
    button = page.find_element(By.ID, "theme")
    assert (look(), button.text) == (light, "Dark page")
    button.send_keys(Keys.ENTER)
    assert (look(), button.text) == (dark, "Light page")
    button.send_keys(Keys.ENTER)
    assert look() == light
    page.refresh()
    try:
        page.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
        )
        wait_for(lambda: (look(), page.find_element(By.ID, "theme").text) == (dark, "Light page"))
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        page.find_element(By.ID, "theme").click()
        assert look() == dark
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
        wait_for(lambda: look() == light)  # paper is white
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_a_narrow_screen_scrolls_tables_in_their_own_box(page: WebDriver) -> None:
    try:
        page.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        )
        assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth && innerWidth === 400")
        assert page.execute_script(
            "return [...document.querySelectorAll('.table')].some((box) => box.scrollWidth > box.clientWidth)"
        )
        wait_for(lambda: page.execute_script("return document.querySelector('.stage svg').viewBox.baseVal.width") < 400)
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_data_behind_a_figure_are_those_that_it_draws(
    page: WebDriver, tmp_path_factory: pytest.TempPathFactory
) -> None:
    part = figure(page, "loss")
    data = json.loads(str(part.find_element(By.TAG_NAME, "script").get_attribute("textContent")))
    part.find_element(By.CSS_SELECTOR, "button.data").click()
    path = tmp_path_factory.getbasetemp() / "downloads" / "digits-loss.csv"
    wait_for(path.exists)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    drawn = [(t, i) for t in data["traces"] for i in range(len(t["x"]))]
    points = [row for row in rows if row["kind"] != "diverged here"]
    assert len(rows) - len(points) == sum("end" in t for t in data["traces"]) == 6
    for row, (trace, i) in zip(points, drawn, strict=True):
        assert (row["line"], row["kind"]) == (trace["label"], trace["kind"])
        assert (float(row["x"]), float(row["y"])) == (trace["x"][i], trace["y"][i])
        assert row["against"] == data["choices"][0]["options"][trace["at"][0]]
        assert row["low"] == ("" if "low" not in trace else str(trace["low"][i]))


@pytest.mark.parametrize("loss", [math.nan, 1e30])
def test_where_everything_diverged_that_is_seen(browser: WebDriver, tmp_path: Path, loss: float) -> None:
    matrix = matrix_of(tmp_path)
    with open_store(f"sqlite:///{tmp_path}/store.sqlite") as store:
        *before, last = iterations(3)
        steps = [*(before if math.isfinite(loss) else []), last._replace(loss=loss)]
        finished(store, matrix.cells[0], Records(steps, [], []), "diverged")
        path = page_of(store, matrix, tmp_path)
    visit(browser, path)
    assert browser.get_log("browser") == []
    part = figure(browser, "loss")
    if math.isfinite(loss):
        assert len(part.find_elements(By.CSS_SELECTOR, ".stage .cross")) == 1
        assert len(part.find_elements(By.CSS_SELECTOR, ".stage .grid")) < 12
    else:
        assert "× sgd seed 0 diverged at iteration 3" in part.find_element(By.CSS_SELECTOR, ".stage svg").text


def test_points_are_told_apart_hidden_and_read(browser: WebDriver, tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path, FIVE)
    with open_store(f"sqlite:///{tmp_path}/points.sqlite") as store:
        for number, cell in enumerate(matrix.cells):
            rows = [fisher("linear1", 60, 0.1 + number / 20, 0.4, 0.1, 0.3)]
            kronecker = rows if cell.method.method in FIRST else []
            finished(store, cell, Records(iterations(60), evaluations([40.0, 30.0, 25.0, 11.0 + number]), kronecker))
        path = page_of(store, matrix, tmp_path)
    visit(browser, path)
    part = browser.find_element(By.ID, "figure-predictors")
    points = part.find_elements(By.CSS_SELECTOR, ".stage .point")
    assert len(points) == 5
    box = part.find_element(By.CSS_SELECTOR, ".stage svg").rect
    for point in points:
        assert box["y"] < point.rect["y"] < box["y"] + box["height"]
        assert box["x"] < point.rect["x"] < box["x"] + box["width"]
    titles = {str(p.find_element(By.CSS_SELECTOR, "title").get_attribute("textContent")) for p in points}
    assert any(title.startswith("kfac, digits: ") for title in titles)
    control(part, "kfac").click()
    assert len(part.find_elements(By.CSS_SELECTOR, ".stage .point")) == 4
    assert "shown: " in said(part)
    assert "kfac," not in said(part)
    part.find_element(By.CSS_SELECTOR, "input[type=range]").send_keys(Keys.HOME)
    assert len(part.find_elements(By.CSS_SELECTOR, ".stage .ring")) == 1
    assert "digits" in part.find_element(By.CSS_SELECTOR, "output").text
    assert browser.get_log("browser") == []


def test_a_million_iterations_are_there_as_soon_as_hundreds(browser: WebDriver, tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path)
    with open_store(f"sqlite:///{tmp_path}/store.sqlite") as store:
        for cell in matrix.cells:
            run = begin(store, cell)
            store.append(run, Records([], evaluations([30.0 - i / 200 for i in range(2500)], every=50), []))
            store.finish(run, "done")
            store.session.execute(
                sa.text(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 125000) "
                    f"INSERT INTO iterations SELECT {run}, i, i, 30.0, i, i, 0.5, 0.2, 0.1, 0.2 FROM n"
                )
            )
        store.session.commit()
        count = store.session.execute(sa.text("SELECT count(*) FROM iterations")).scalar()
        path = page_of(store, matrix, tmp_path)
    assert count == 1_000_000
    few = tmp_path / "few"
    few.mkdir()
    with open_store(f"sqlite:///{few}/store.sqlite") as store:
        for cell in matrix.cells:
            finished(store, cell, Records(iterations(180), evaluations([30.0] * 10), []))
        small = page_of(store, matrix, few)
    shown = {page: min(seconds_to_show(browser, page) for _ in range(3)) for page in (small, path)}
    size = path.stat().st_size
    print(
        f"\n{count:,} iterations: {size / 1e3:.0f} kB, shown in {shown[path] / shown[small]:.2f} times that of hundreds"
    )
    assert fronts(figure(browser, "loss")) == {"sgd", "adam", "kfac", "kpsvd"}
    points = len(re.findall("[ML]", drawn(figure(browser, "loss"))["kfac"]))
    assert points == 200
    assert size < 1e6
    assert shown[path] < 5 * shown[small]
