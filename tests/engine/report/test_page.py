"""The report's page: what it tells, that it needs nothing else, and that text can't become markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from engine.analysis import load_analysis
from engine.analysis.schema import Analysis
from engine.report import page
from engine.report.make import make_report, run_path
from engine.report.page import render, sentence
from engine.report.photos import Album
from engine.report.story import last_night, read_stories, read_story
from engine.rundir import RunDir
from engine.runqueue import RunQueue
from tests.builders import SIZE, new_run
from tests.engine.report.nights import FAILURE, RECOVERIES, add_run, keep_detections, training_events


class Page(HTMLParser):
    """What a page consists of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name in ("href", "src", "action", "srcset", "poster", "data"):
                self.addresses.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def night(tmp_path: Path, dataset: Path, queue: RunQueue) -> RunQueue:
    """Two runs that finished, one of them mended, one that failed and one that waits."""
    photos = sorted((dataset / "val" / "images").iterdir())
    for number, name in enumerate(("plain", "better")):
        events = training_events(best_ap=0.3 + 0.3 * number, seed=number, before=RECOVERIES if number else ())
        run_dir = add_run(queue, tmp_path, dataset, name, events, training={"epochs": 6, "seed": number})
        keep_detections(run_dir, photos, SIZE, seed=number)
    hot = add_run(queue, tmp_path, dataset, "hot", [*training_events()[:9], FAILURE], optimizer={"lr": 1.0})
    hot.worker_log.write_text("begun\nTraceback </pre><script>alert(1)</script>\n")
    add_run(queue, tmp_path, dataset, "later", None, training={"epochs": 9})
    return queue


def ap_of(run_dir: RunDir) -> float:
    analysis = load_analysis(run_dir)
    assert analysis is not None
    assert analysis.figures.ap is not None
    return analysis.figures.ap


def page_of(queue: RunQueue, *runs: str) -> tuple[str, Page]:
    html = render(read_stories(queue.runs_dir, runs or [row.run for row in queue.rows()]))
    return html, Page(html)


def test_a_night_is_told_whole(night: RunQueue) -> None:
    html, page = page_of(night)
    words = " ".join(page.text.split())
    assert "2 finished, 1 failed, 1 queued" in words
    ranking = html[html.index('id="ranking"') : html.index("</table>")]
    with_ap = sorted(["0001-plain", "0002-better"], key=lambda run: -ap_of(RunDir(night.runs_dir / run)))
    places = [ranking.index(f">{run}<") for run in (*with_ap, "0003-hot", "0004-later")]
    assert places == sorted(places)
    assert "The loss exploded 3 times after going back.<b>lower</b> optimizer.lr.Correct hot.toml" in words
    assert "rolled back" in words
    assert "optimizer.lr" in words
    assert "training.seed" in words
    assert "never started" in words
    assert "Badly placed" in words
    assert "Missed" in words


def test_nothing_is_fetched(night: RunQueue) -> None:
    html, page = page_of(night)
    assert all(address.startswith(("#", "data:image/jpeg;base64,")) for address in page.addresses), page.addresses
    assert "default-src 'none'" in html
    assert not re.search(r"url\(|@import|https?://", html)


def test_links_lead_somewhere_and_ids_are_unique(night: RunQueue) -> None:
    for runs in ((), ("0002-better",), ("0003-hot",), ("0004-later",)):
        _, page = page_of(night, *runs)
        assert len(page.ids) == len(set(page.ids))
        assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)


def test_text_from_files_stays_text(night: RunQueue) -> None:
    html, page = page_of(night)
    assert page.tags.count("script") == 1
    assert "&lt;b&gt;lower&lt;/b&gt;" in html
    assert "IMG_&lt;script&gt;.jpg" in html
    assert "&lt;/pre&gt;&lt;script&gt;" in html


def test_a_photo_is_embedded_once_and_boxes_carry_their_scores(night: RunQueue) -> None:
    html, page = page_of(night)
    photos = [address for address in page.addresses if address.startswith("data:")]
    assert len(photos) == len(set(photos)) == 3  # both runs and all albums share them
    assert html.count('<use href="#p0"/>') > 1
    scores = [float(score) for score in re.findall(r'<g class="(?:right|wrong)" data-s="([\d.]+)">', html)]
    assert scores
    assert all(0 < score <= 1 for score in scores)
    assert re.search(r'<g class="object truth"><rect', html), "an object that nothing found"


def test_photos_end_where_the_page_is_full(night: RunQueue) -> None:
    html = render(read_stories(night.runs_dir, ["0001-plain"]), album=Album(most_bytes=1))
    assert html.count("data:image/jpeg") == 1


def test_a_photo_that_is_gone_is_left_out(tmp_path: Path, dataset: Path, queue: RunQueue) -> None:
    run_dir = add_run(queue, tmp_path, dataset, "a", training_events())
    torn = tmp_path / "torn.jpg"
    torn.write_bytes(b"\xff\xd8\xff rubbish")
    keep_detections(run_dir, [tmp_path / "gone.jpg", torn], SIZE)
    html, _ = page_of(queue)
    assert "data:image" not in html
    assert "Confusion" in html


def test_a_run_of_before_detections_were_kept(tmp_path: Path, dataset: Path, queue: RunQueue) -> None:
    add_run(queue, tmp_path, dataset, "old", training_events(best_ap=0.5))
    html, page = page_of(queue)
    assert "0.499" in page.text
    assert "Confusion" not in html
    assert "laptop" in page.text


@pytest.mark.parametrize("name", ["events.jsonl", "resolved.json", "forecast.json", "evaluation/val.detections.json"])
def test_a_torn_file_costs_only_what_it_held(night: RunQueue, name: str) -> None:
    path = night.runs_dir / "0001-plain" / name
    path.write_bytes(path.read_bytes()[:37] + b"\xff{")
    _, page = page_of(night)
    assert "0001-plain" in page.text


def test_an_empty_folder_has_a_page() -> None:
    assert "nothing to tell" in render([])


def test_a_folder_without_a_queue_tells_its_state(night: RunQueue) -> None:
    run_dir = RunDir(night.runs_dir / "0003-hot")
    story = read_story(run_dir)
    assert (story.row.state, story.row.cause) == ("failed", "diverged")
    assert "diverged" in render([story])


def test_the_forecast_is_compared_for_whole_runs_only(night: RunQueue) -> None:
    _, page = page_of(night)
    forecast = page.text[page.text.index("Forecast and reality", 100) :]
    assert re.findall(r"[+−]\d+%", forecast) == ["+14%", "+14%"]  # 125 s of 110 s


def test_a_report_of_ours_is_replaced_and_nobody_elses(night: RunQueue) -> None:
    [story] = read_stories(night.runs_dir, ["0001-plain"])
    own = run_path(story.run_dir)
    make_report([story], own)
    assert run_path(story.run_dir) == own == story.run_dir.html_report
    own.write_text("<html>my notes</html>")
    assert run_path(story.run_dir).name == "report-2.html"


def test_the_last_night_ends_where_nothing_was_at_work(queue: RunQueue) -> None:
    from dataclasses import replace

    queue.enqueue([new_run(name) for name in "abcd"])
    hour = 3600.0
    times = [(0.0, hour), (20 * hour, 22 * hour), (22 * hour, 30 * hour), None]
    rows = [
        replace(row, started_at=span[0] if span else None, ended_at=span[1] if span else None)
        for row, span in zip(queue.rows(), times, strict=True)
    ]
    assert [row.run for row in last_night(rows)] == ["0002-b", "0003-c"]
    assert last_night([]) == []


def test_sentences() -> None:
    assert str(sentence("mend it and `engine retry 4`")) == "Mend it and <code>engine retry 4</code>."
    assert str(sentence("`<b>`")) == "<code>&lt;b&gt;</code>."
    assert str(sentence("")) == ""


def test_every_table_scrolls_by_itself_where_the_screen_is_narrow(night: RunQueue) -> None:
    html, _ = page_of(night)
    assert html.count("<table") > 5
    assert len(re.findall(r'<div class="scroll"[^>]*>\s*<table', html)) == html.count("<table")


@pytest.mark.parametrize("score", [0.57, 0.29, 0.905, 0.4719])  # 100 * 0.57 is a little below 57 in binary
def test_the_slider_starts_at_the_best_threshold(
    night: RunQueue, monkeypatch: pytest.MonkeyPatch, score: float
) -> None:
    def at_score(run_dir: RunDir) -> Analysis | None:
        analysis = load_analysis(run_dir)
        if analysis is None or analysis.best is None:
            return analysis
        return msgspec.structs.replace(analysis, best=msgspec.structs.replace(analysis.best, score=score))

    monkeypatch.setattr(page, "load_analysis", at_score)
    html, _ = page_of(night)
    shown, slider = f"{score:.2f}", f'value="{round(score, 2)}"'
    assert html.count(f"<dt>best threshold</dt><dd>{shown}</dd>") == 2
    assert html.count(f"Score threshold <output>{shown}</output>") == html.count(slider) == 2
    assert html.count(f'data-score="{score}"') == 2
