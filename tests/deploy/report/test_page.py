"""The page as text: what it says, what it links, and what hostile names become."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import re

import pytest

from mtmedformer_monai.deploy.report import write_html, write_layers_of, write_page
from mtmedformer_monai.deploy.results import ImageSource, Refusal, StudyResult

from .conftest import make_image, make_maps, make_run

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202egpj\udcff.dcm"


class Parsed(html.parser.HTMLParser):
    """Tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self._inside = [], "", ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        self.text += "" if self._inside in ("script", "style") else data

    def urls(self):
        return [attrs[name] for _, attrs in self.tags for name in ("src", "href") if name in attrs]


@pytest.fixture
def page(views_run, tmp_path):
    return Parsed(write_html(*views_run, tmp_path))


def test_it_states_findings_refusals_provenance_and_its_purpose(page):
    for text in (
        "Research use only",
        "malignant",
        "0.62 ± 0.10",
        "BodyPartExamined is HAND",
        "hand.dcm",
        "cd" * 32,
        "the header states no body part",
        "0.36 cm²",  # 3600 pixels of 0.1 mm
        "calibrated",
    ):
        assert text in page.text


def test_views_are_in_hanging_order(page):
    headings = re.findall(r"[RL] (?:CC|MLO)", page.text)
    assert list(dict.fromkeys(headings)) == ["R CC", "L CC", "R MLO", "L MLO"]


def test_every_linked_file_exists_and_is_relative(page, tmp_path):
    files = [url for url in page.urls() if not url.startswith(("#", "data:"))]
    assert len(files) >= 5 * 5
    for url in files:
        assert url.startswith("./")
        assert (tmp_path / url).is_file()


def test_the_policy_admits_only_the_inline_style_and_script(page, tmp_path):
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    (policy,) = (attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for tag in ("script", "style"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
    names = {name for _, attrs in page.tags for name in attrs}
    assert not {name for name in names if name == "style" or name.startswith("on")}


def test_hostile_text_stays_text(tmp_path):
    image = make_image("image", source=HOSTILE, view=HOSTILE, flags=(HOSTILE,), notes=(HOSTILE,))
    run = make_run([StudyResult(HOSTILE, "one", (image,))], [Refusal(HOSTILE, HOSTILE, HOSTILE)])
    page = Parsed(write_html(run, {("one", "image"): make_maps()}, tmp_path))
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not [attrs for _, attrs in page.tags if "onerror" in attrs]
    assert "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>" in page.text
    assert "\u202e" not in page.text
    assert "\\u202egpj\\udcff.dcm" in page.text


def test_files_with_hostile_names_are_linked_relatively(tmp_path):
    name = "javascript:alert(1)#?%\"'<"
    image = make_image("image", files={"seg": name})
    run = make_run([StudyResult("1.2", "../..", (image,))])
    urls = Parsed(write_html(run, {}, tmp_path)).urls()
    assert "./javascript%3Aalert%281%29%23%3F%25%22%27%3C" in urls


def test_a_study_outside_the_output_folder_is_refused(tmp_path):
    run = make_run([StudyResult("1.2", "../elsewhere", (make_image(),))])
    with pytest.raises(ValueError, match="elsewhere"):
        write_html(run, {("../elsewhere", "image"): make_maps()}, tmp_path / "output")
    assert not (tmp_path / "elsewhere").exists()


def test_an_image_without_maps_is_reported_without_a_picture(tmp_path):
    page = Parsed(write_html(make_run([StudyResult("1.2", "one", (make_image(),))]), {}, tmp_path))
    assert "No picture was written" in page.text
    assert not [tag for tag, _ in page.tags if tag == "img"]


def test_a_run_without_any_image_lists_what_was_refused(tmp_path):
    page = Parsed(write_html(make_run([], [Refusal("a.dcm", "It has 12 frames.", "Frames")]), {}, tmp_path))
    assert "No image was processed" in page.text
    assert "It has 12 frames." in page.text


def test_the_writers_of_the_runner_give_the_same_page_from_one_image_at_a_time(tmp_path):
    image = make_image()
    together = write_html(
        make_run([StudyResult("1.2", "one", (image,))]), {("one", "image"): make_maps()}, tmp_path / "a"
    )
    source = ImageSource(tmp_path / "film.dcm", None, make_maps())
    files = write_layers_of(image, source, make_run([]).provenance, tmp_path / "b" / "one")
    run = make_run([StudyResult("1.2", "one", (make_image(files=files),))])
    assert write_page(run, tmp_path / "b") == {"report": "report.html"}
    assert (tmp_path / "b/report.html").read_text() == together.read_text()


def test_an_embedded_page_needs_no_other_file(tmp_path):
    image = make_image()
    files = write_layers_of(image, ImageSource(tmp_path, None, make_maps()), make_run([]).provenance, tmp_path / "one")
    run = make_run([StudyResult("1.2", "one", (make_image(files=files),))])
    write_page(run, tmp_path, embed=True)
    sources = [attrs["src"] for tag, attrs in Parsed(tmp_path / "report.html").tags if tag == "img"]
    assert len(sources) == 5
    assert all(source.startswith("data:image/") for source in sources)
