"""The report in headless Chromium, at the size of a desktop and of a phone."""

from __future__ import annotations

import numpy as np
import pytest

from mtmedformer_monai.deploy.report import write_html
from mtmedformer_monai.deploy.results import StudyResult

from .conftest import COLUMNS, HOT, LESION, ROWS, make_image, make_maps, make_run

SIZES = {"desktop": (1440, 1000), "phone": (390, 844)}
CHEST = "#study-2-image-1"


@pytest.fixture
def report(views_run, tmp_path):
    return write_html(*views_run, tmp_path)


def show(browser, selector):
    browser.evaluate(f"document.querySelector('{selector}').scrollIntoView({{block: 'center'}})")


def stage_pixels(browser, image=CHEST):
    """Returns the pixels of an image's picture, and a function that crops them to rows and columns of the source."""
    show(browser, f"{image} .stage")
    browser.wait_for_pictures()
    show(browser, f"{image} .stage")
    x, y, width = browser.evaluate(
        f"(r => [r.x, r.y, r.width])(document.querySelector('{image} .picture').getBoundingClientRect())"
    )
    height = width * ROWS / COLUMNS
    window = browser.screenshot().astype(int)

    def crop(rows, columns):
        top, bottom = (int(y + height * place / ROWS) for place in (rows.start, rows.stop))
        left, right = (int(x + width * place / COLUMNS) for place in (columns.start, columns.stop))
        return window[max(top, 0) : bottom, left:right]

    return crop


def change(before, after, place):
    return float(np.abs(before(*place) - after(*place)).mean())


def toggle(browser, selector):
    browser.evaluate(f"document.querySelector('{CHEST} {selector}').click()")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_nothing_overflows_fails_or_asks_the_network(report, browser, size, dark):
    browser.open(report, *size, dark=dark)
    for selector in ("#study-1", "#study-2", "#refused", "footer"):
        show(browser, selector)
        browser.wait_for_pictures()
        assert browser.evaluate("document.documentElement.scrollWidth") == size[0]
    outside = f"""[...document.querySelectorAll('main *:not(svg *)')].filter(
      e => e.checkVisibility() && e.getBoundingClientRect().right > {size[0]} + 1).map(e => e.outerHTML.slice(0, 80))"""
    assert browser.evaluate(outside) == []
    assert browser.messages == []
    assert {url.split(":")[0] for url in browser.requests} <= {"file", "data"}
    ground = browser.screenshot()[-3, 1].mean()  # the page's margin
    assert (ground < 60) if dark else (ground > 200)


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
@pytest.mark.parametrize(
    ("control", "place", "elsewhere"),
    [
        (".t0", LESION, HOT),
        (".tb", LESION, HOT),
        (".heat-explanation", HOT, LESION),
        (".heat-uncertainty", LESION, HOT),
    ],
    ids=["mask", "boxes", "explanation", "uncertainty"],
)
def test_a_layer_is_switched_where_it_lies(report, browser, control, place, elsewhere, scripts):
    browser.open(report, *SIZES["desktop"], scripts=scripts)
    before = stage_pixels(browser)
    toggle(browser, control)
    after = stage_pixels(browser)
    assert change(before, after, place) > 0.5
    assert change(before, after, elsewhere) < 0.02  # the label of a box reaches a little beyond it
    toggle(browser, ".heat-none" if "heat" in control else control)
    assert change(before, stage_pixels(browser), place) < 0.02  # smoothed edges are drawn anew


def test_the_keyboard_switches_layers(report, browser):
    browser.open(report, *SIZES["desktop"])
    before = stage_pixels(browser)
    browser.evaluate(f"document.querySelector('{CHEST} .t0').focus()")
    browser.press(" ", 32, " ")
    assert browser.evaluate(f"document.querySelector('{CHEST} .t0').checked") is False
    assert change(before, stage_pixels(browser), LESION) > 0.5
    browser.press("Tab", 9)
    assert browser.evaluate("document.activeElement.className").split()[0] == "tb"


def test_every_control_has_a_name_and_every_picture_a_text(report, browser):
    browser.open(report, *SIZES["desktop"])
    unnamed = "[...document.querySelectorAll('input')].filter(e => !e.labels[0]?.textContent.trim()).length"
    assert browser.evaluate(unnamed) == 0
    assert browser.evaluate("[...document.querySelectorAll('#studies img')].filter(e => !e.alt).length") == 0


def test_views_stand_side_by_side_on_a_desktop_and_below_each_other_on_a_phone(report, browser):
    tops = """[...document.querySelectorAll('#study-1 .stage')].map(e => Math.round(e.getBoundingClientRect().top))"""
    browser.open(report, *SIZES["desktop"])
    assert len(set(browser.evaluate(tops))) == 1
    browser.open(report, *SIZES["phone"])
    assert len(set(browser.evaluate(tops))) == 4


def test_the_bar_and_its_threshold_are_where_the_numbers_say(report, browser):
    browser.open(report, *SIZES["desktop"])
    show(browser, f"{CHEST} .predicted")
    bar, fill, mark = browser.evaluate(
        f"""['.bar', '.fill', '.threshold'].map(c => document.querySelector('{CHEST} .predicted ' + c)
          .getBoundingClientRect()).map(r => [r.left, r.right])"""
    )
    width = bar[1] - bar[0]
    assert (fill[1] - bar[0]) / width == pytest.approx(0.625, abs=0.01)
    assert ((mark[0] + mark[1]) / 2 - bar[0]) / width == pytest.approx(0.5, abs=0.02)


def test_the_index_finds_studies(report, browser):
    browser.open(report, *SIZES["desktop"])
    shown = "[...document.querySelectorAll('.study')].filter(e => !e.hidden).map(e => e.id)"
    browser.evaluate("document.getElementById('only-flagged').click()")
    assert browser.evaluate(shown) == ["study-2"]
    browser.evaluate("document.getElementById('only-flagged').click()")
    browser.evaluate(
        "(e => { e.value = 'R_MLO'; e.dispatchEvent(new Event('input')) })(document.getElementById('find'))"
    )
    assert browser.evaluate(shown) == ["study-1"]
    assert browser.evaluate("document.getElementById('found').textContent") == "1 of 2 studies"


def test_a_report_of_500_images_loads_few_of_them(tmp_path, browser):
    studies = tuple(StudyResult(f"1.{n}", f"s{n}", (make_image(f"i{n}"),)) for n in range(500))
    maps = make_maps()
    first = write_html(make_run(studies[:1]), {("s0", "i0"): maps}, tmp_path)
    for study in studies[1:]:
        (tmp_path / study.folder).mkdir()
        name = f"{study.images[0].name}_report"
        (tmp_path / study.folder / name).symlink_to(tmp_path / "s0" / "i0_report")
    assert first.is_file()
    run = make_run(
        [
            StudyResult(
                s.study_instance_uid,
                s.folder,
                (make_image(s.images[0].name, files={"report_layers": f"{s.images[0].name}_report/layers.json"}),),
            )
            for s in studies
        ]
    )
    from mtmedformer_monai.deploy.report import write_page

    write_page(run, tmp_path)
    assert (tmp_path / "report.html").stat().st_size < 6e6
    browser.open(tmp_path / "report.html", *SIZES["desktop"])
    loaded = [url for url in browser.requests if url.endswith(("picture.jpg", ".png"))]
    assert len(loaded) < 60  # of 500 pictures and 1500 layers
    browser.evaluate("location.hash = '#study-400'")
    browser.wait_for_pictures()
    assert browser.evaluate("document.querySelector('#study-400 .picture').naturalWidth") == COLUMNS


def test_it_prints_without_controls_and_with_all_pictures(report, browser):
    browser.open(report, *SIZES["desktop"])
    content = browser.pdf()
    assert content.startswith(b"%PDF")
    assert content.count(b"/Subtype /Image") + content.count(b"/Subtype/Image") >= 5
