"""The page at `/`, in a real browser before a real endpoint."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from before import CARD, KEY
from PIL import Image

from asking import served
from in_process import InProcess
from thaw.data import rle
from thaw.serving.api.app import build_app

THINGS, GROUND, VERDICT, TAGS = (
    f"section[aria-labelledby=head-{task}]" for task in ("things", "ground", "verdict", "tags")
)
SLIDER = f"{THINGS} input[type=range]"
DRAWN = "document.querySelector('#canvas').toDataURL()"
MIDDLES = (Path(__file__).parent / "middles.js").read_text()
CONTRASTS = (Path(__file__).parent / "contrasts.js").read_text()


@pytest.fixture
def page(browser, url):
    """The page on a desk, open and ready."""
    with browser.page() as opened:
        opened.go(url)
        opened.until(f"document.querySelector('{VERDICT}')")
        yield opened


def answered(page, photo):
    """Let a photograph be answered."""
    page.choose("#from-disk", photo)
    page.until("!document.querySelector('#facts').hidden")


def shown(page, selector):
    """Return the text of an element, as far as it is seen."""
    seen = f"[document.querySelector({json.dumps(selector)})].filter(e => e.checkVisibility())"
    return page.js(f"{seen}.map(e => e.innerText).join('')")


def slide(page, selector, value):
    page.js(
        f"(e => {{ e.value = {value}; e.dispatchEvent(new Event('input', {{bubbles: true}})); }})"
        f"(document.querySelector({json.dumps(selector)}))"
    )


def boxes_from(answers, least):
    return sum(box.score >= least for box in answers["things"].boxes)


def test_before_a_picture_the_page_says_what_the_model_answers(page):
    assert shown(page, "#model") == "tiny"
    assert "Version 7" in shown(page, "#about")
    assert "One of 2 classes: no, yes" in shown(page, VERDICT)
    assert page.js("document.querySelector('#canvas').hidden")


def test_a_picture_is_answered_by_every_head_and_no_other_host_is_asked(page, photo, answers, url):
    answered(page, photo)
    verdict, tags, things, ground = (shown(page, one) for one in (VERDICT, TAGS, THINGS, GROUND))
    label = answers["verdict"].label
    assert f"{label} {100 * answers['verdict'].score:.1f}" in verdict.replace("\u202f", " ")
    assert shown(page, f"{TAGS} .answer") == ", ".join(answers["tags"].labels)
    for name, told in answers["things"].summary().items():
        assert f"{told.removeprefix('x')} {name}" in things
    for name, share in answers["ground"].areas.items():
        assert f"{100 * share:.1f}" in ground, name
    facts = shown(page, "#facts")
    assert "tiny, version 7" in facts
    assert "the model" in facts
    assert "unsure" not in tags
    assert len(page.asked) > 10
    assert all(one.startswith(url) for one in page.asked)
    assert page.complaints == []


def test_a_model_that_abstains_says_so_and_what_was_asked_for(page, photo):
    answered(page, photo)
    told = shown(page, f"{VERDICT} .doubt")
    assert "The model abstains." in told
    assert "99.0" in told
    assert "A person had better look" in told
    slide(page, f"{VERDICT} input[type=range]", 0.2)
    assert page.js(f"document.querySelector('{VERDICT} .doubt').hidden")


def test_classes_near_to_their_thresholds_are_said_to_be_unsure(page, photo, answers):
    assert answers["tags"].unsure == ("c",)
    answered(page, photo)
    assert "c is too near to its threshold" in shown(page, f"{TAGS} .doubt")


def test_the_slider_begins_at_the_operating_point_and_shows_what_reaches_it(page, photo, answers):
    answered(page, photo)
    assert page.js(f"document.querySelector('{SLIDER}').valueAsNumber") == 0.5
    output = f"{THINGS} output"
    assert "operating point" in shown(page, output)
    at_point = page.js(DRAWN)
    for least in (0.6, 0.2, 0):
        slide(page, SLIDER, least)
        many = boxes_from(answers, least)
        assert f": {many} box" in shown(page, output)
        assert page.js(f"document.querySelectorAll('{THINGS} tbody tr').length") == many
        assert page.js(DRAWN) != at_point
    page.click(f"{THINGS} .slide button")
    assert "operating point" in shown(page, output)
    assert page.js(DRAWN) == at_point


def test_classes_with_thresholds_of_their_own_have_sliders_of_their_own(page, photo):
    answered(page, photo)
    values = page.js(f"[...document.querySelectorAll('{TAGS} input[type=range]')].map(e => e.valueAsNumber)")
    assert values == [0.1, 0.9, 0.5]
    slide(page, f"{TAGS} input[type=range]", 0.8)
    assert "No class reaches" in shown(page, f"{TAGS} .answer")


@pytest.mark.parametrize("card", [GROUND, THINGS])
def test_masks_and_boxes_are_hidden_and_shown_by_class_and_all_at_once(page, photo, card):
    answered(page, photo)
    seen = [page.js(DRAWN)]
    boxes = page.js(f"document.querySelectorAll('{card} .classes input').length")
    for place in range(boxes):
        page.js(f"document.querySelectorAll('{card} .classes input')[{place}].click()")
        seen.append(page.js(DRAWN))
    assert len(set(seen)) == boxes + 1
    page.click(f"{card} .toggle input")
    off = page.js(DRAWN)
    page.click(f"{card} .classes input")
    assert page.js(DRAWN) == off


def test_masks_lie_where_the_model_says(page, photo, answers):
    """With everything else hidden and full opacity, the canvas holds each class's colour on its pixels."""
    answered(page, photo)
    facts = page.js("fetch('./', {headers: {accept: 'application/json'}}).then(r => r.json())")
    colours = facts["tasks"]["ground"]["colours"]
    page.click(f"{THINGS} .toggle input")
    page.js(f"document.querySelectorAll('{GROUND} .classes input:not(:checked)').forEach(e => e.click())")
    slide(page, f"{GROUND} .cover input", 1)
    high, wide = answers["ground"].size
    at = np.array(page.js(f"({MIDDLES.strip()})({high}, {wide})")).reshape(high, wide, 3)
    for name, runs in answers["ground"].masks.items():
        ink = [int(colours[name][place : place + 2], 16) for place in (1, 3, 5)]
        assert np.array_equal(rle.decode(runs), (at == ink).all(axis=2)), name


def test_another_version_that_answers_is_told_with_its_own_classes(browser, model, photo, monkeypatch):
    """As where the alias was moved while the page was open, or a version is tried on a share of requests."""
    changing = InProcess(model)
    with served(build_app(changing)) as url, browser.page() as page:
        page.go(url)
        page.until(f"document.querySelector('{VERDICT}')")
        assert "Version 7." in shown(page, "#about")
        changing.version = 8
        answered(page, photo)
        assert "Version 8." in shown(page, "#about")
        assert "tiny, version 8" in shown(page, "#facts")
        assert page.js("document.querySelector('#card').search") == "?model=tiny&version=8"
        assert f"{url}?model=tiny&version=8" in page.asked


def test_a_picture_lies_as_it_was_held(page, pixels, tmp_path):
    turned, exif = tmp_path / "turned.jpg", Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(turned, exif=exif)
    answered(page, turned)
    width, height = page.js("(c => [c.width, c.height])(document.querySelector('#canvas'))")
    assert width / height == pytest.approx(pixels.shape[0] / pixels.shape[1], abs=0.01)


def test_a_picture_that_the_browser_cannot_show_is_answered_all_the_same(page, pixels, tmp_path):
    scan = tmp_path / "scan.tiff"
    Image.fromarray(pixels).save(scan)
    answered(page, scan)
    assert "cannot show pictures of this format" in shown(page, "#frame")
    assert page.js("document.querySelector('#canvas').hidden")


def test_run_lengths_are_read_as_they_were_written(page):
    draw = np.random.default_rng(0)
    masks = [
        draw.random((high, wide)) < share for high, wide, share in [(1, 1, 1), (7, 5, 0), (7, 5, 0.5), (40, 301, 0.02)]
    ]
    masks.append(np.zeros((900, 1200), bool))
    masks[-1][10:800, 30:1100] = True
    stamp = page.js("document.querySelector('script').src.split('/').at(-2)")
    for mask in masks:
        runs = rle.encode(mask).model_dump_json()
        told = page.js(
            f"import('/page/{stamp}/rle.js').then(({{paint}}) => {{ const map = new Uint8Array({mask.size}).fill(9);"
            f"paint(map, {runs}, 3); return [...map].join(''); }})"
        )
        assert told == "".join("3" if one else "9" for one in mask.ravel())


def test_the_keyboard_alone_is_enough(page, photo, answers):
    page.tab_to("e.id === 'choose'")
    assert page.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.choose_in_dialog(lambda: page.press("Enter"), photo)
    page.until("!document.querySelector('#facts').hidden")
    page.tab_to(f"e.matches({json.dumps(SLIDER)})")
    page.press("ArrowRight", times=10)
    assert f"0.60: {boxes_from(answers, 0.6)} box" in shown(page, f"{THINGS} output")
    page.tab_to(f"e.matches({json.dumps(f'{THINGS} .slide button')})")
    page.press(" ")
    assert page.js(f"document.activeElement.matches({json.dumps(SLIDER)})")
    page.tab_to(f"e.matches({json.dumps(f'{GROUND} .classes input')})")
    before = page.js(DRAWN)
    page.press(" ")
    assert page.js(DRAWN) != before


def test_a_screen_reader_is_told_of_the_answers_and_of_every_control(page, photo):
    answered(page, photo)
    page.until("document.querySelector('#said').textContent.startsWith('Answered')")
    told = page.accessible()
    said = page.js("document.querySelector('#said').textContent")
    [picture] = [name for role, name in told if role in ("image", "img", "Canvas") and "board 1.png" in name]
    for text in (said, picture):
        assert "the model abstains" in text
        assert all(f"{task}: " in text for task in ("verdict", "tags", "things", "ground"))
    controls = [(role, name) for role, name in told if role in ("button", "checkbox", "slider", "link", "textbox")]
    assert len(controls) > 12
    assert all(name.strip() for _, name in controls)
    assert {"Show things on the picture", "Show ground on the picture"} <= {name for _, name in controls}
    assert page.js("document.querySelector('#said').getAttribute('aria-live')") == "polite"
    slider = page.js(f"document.querySelector('{SLIDER}').getAttribute('aria-valuetext')")
    assert "operating point" in slider


@pytest.mark.parametrize("way", ["drop", "paste", "camera"])
def test_pictures_can_be_dropped_pasted_and_taken(page, photo, way):
    if way == "drop":
        page.drop("#frame", photo)
    elif way == "camera":
        page.choose("#from-camera", photo)
    else:
        page.js(
            "(async () => { const canvas = new OffscreenCanvas(20, 10); canvas.getContext('2d').fillRect(0, 0, 9, 9);"
            "const data = new DataTransfer(); data.items.add(new File([await canvas.convertToBlob()], 'cut.png',"
            "{type: 'image/png'})); document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data})); })()"
        )
    page.until("!document.querySelector('#facts').hidden")
    assert page.js("!document.querySelector('#canvas').hidden")


def test_a_phone_shows_everything_without_scrolling_sideways(browser, url, photo):
    with browser.page(390, 844) as page:
        page.go(url)
        page.until(f"document.querySelector('{VERDICT}')")
        sideways = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.js(sideways) == 0
        assert page.js("document.querySelector('#photo').checkVisibility()")
        assert page.js("document.querySelector('#from-camera').getAttribute('capture')") == "environment"
        answered(page, photo)
        page.js("document.querySelectorAll('details').forEach(e => e.open = true)")
        assert page.js(sideways) == 0
        beyond = (
            "[...document.querySelectorAll('main *')].filter(e => e.checkVisibility() && !e.closest('.scroll, .unseen')"
        )
        assert page.js(f"{beyond} && e.getBoundingClientRect().right > 390.5).length") == 0
        for button in ("#choose", "#photo"):
            assert page.js(f"document.querySelector('{button}').getBoundingClientRect().height") >= 44


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_ground(browser, url, photo, scheme):
    with browser.page(prefers_color_scheme=scheme) as page:
        page.go(url)
        page.until(f"document.querySelector('{VERDICT}')")
        answered(page, photo)
        page.js("document.querySelectorAll('details').forEach(e => e.open = true)")
        ground = page.js("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(21, 23, 27)") == (scheme == "dark")
        found = page.js(CONTRASTS)
        assert len(found) > 40
        assert [one for one in found if one[1] < 4.5] == []


def test_nothing_moves_where_that_is_not_wanted(browser, url, photo):
    for wanted, moves in (("reduce", False), ("no-preference", True)):
        with browser.page(prefers_reduced_motion=wanted) as page:
            page.go(url)
            page.until(f"document.querySelector('{VERDICT}')")
            answered(page, photo)
            told = page.js("getComputedStyle(document.querySelector('.fill')).transitionDuration")
            assert (told != "0s") == moves


def test_a_file_that_is_no_picture_is_refused_in_plain_words(page, tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("not a picture")
    page.choose("#from-disk", notes)
    page.until("!document.querySelector('#problem').hidden")
    told = shown(page, "#problem")
    assert "This file is not understood" in told
    assert "Request" in told
    assert page.js("document.querySelector('#problem').getAttribute('role')") == "alert"
    assert page.js("document.querySelector('#facts').hidden")
    assert "cannot show" not in shown(page, "#frame")


def test_what_is_too_large_is_refused_before_it_is_sent(page, tmp_path, url):
    huge = tmp_path / "huge.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)).save(huge)
    assert huge.stat().st_size > 200_000
    page.choose("#from-disk", huge)
    page.until("!document.querySelector('#problem').hidden")
    assert "larger than the 195 KB that are allowed" in shown(page, "#problem")
    assert f"{url}predict" not in page.asked


def test_a_busy_endpoint_can_be_asked_again(browser, before, guarded_url, photo):
    before.refusals = [(503, "more wait than may", {"retry-after": "2"})]
    with browser.page() as page:
        page.go(guarded_url)
        page.until(f"document.querySelector('{VERDICT}')")
        page.choose("#from-disk", photo)
        page.until("!document.querySelector('#problem').hidden")
        told = shown(page, "#problem")
        assert "busy" in told
        assert "More wait than may." in told
        assert "2 seconds" in told
        page.click("#problem button")
        page.until("!document.querySelector('#facts').hidden")
        assert page.js("document.querySelector('#problem').hidden")


def test_a_key_is_asked_for_used_and_kept_nowhere(browser, before, guarded_url, photo, monkeypatch):
    monkeypatch.setattr(before, "keyed", True)
    with browser.page() as page:
        page.go(guarded_url)
        page.until("!document.querySelector('#key').hidden")
        assert page.js("document.activeElement.id") == "key-value"
        page.write("wrong")
        page.press("Enter")
        page.until("document.querySelector('#key-why').textContent.includes('not accepted')")
        page.write(KEY)
        page.press("Enter")
        page.until(f"document.querySelector('{VERDICT}')")
        answered(page, photo)
        assert page.js("document.querySelector('#key').hidden")
        assert page.js("localStorage.length + sessionStorage.length + document.cookie.length") == 0
        assert page.js("indexedDB.databases().then(all => all.length)") == 0
        assert all(KEY not in one for one in page.asked)
        page.click("#card")
        page.until("document.querySelector('#card-shown').open")
        assert "accuracy" in shown(page, "#card-shown")


def test_a_request_that_takes_long_says_so_and_can_be_cancelled(page, photo):
    page.js(
        "window.fetch = (_, {signal}) =>"
        "  new Promise((_, no) => signal.addEventListener('abort', () => no(signal.reason)))"
    )
    page.choose("#from-disk", photo)
    page.until("!document.querySelector('#working').hidden")
    assert "Waiting for the answer" in shown(page, "#working")
    assert page.js("document.querySelector('#answers').getAttribute('aria-busy')") == "true"
    page.click("#cancel")
    page.until("document.querySelector('#working').hidden")
    assert page.js("document.querySelector('#said').textContent") == "Cancelled."
    assert "One of 2 classes" in shown(page, VERDICT)


def test_scripts_and_hosts_that_are_not_the_pages_own_are_blocked(page):
    page.js(
        "(s => { s.textContent = 'window.broken = 1'; document.body.append(s); })(document.createElement('script'))"
    )
    page.js(
        "(e => { e.innerHTML = '<img src=x onerror=\"window.broken = 2\">'; document.body.append(e); })"
        "(document.createElement('p'))"
    )
    time.sleep(0.05)
    assert page.js("window.broken === undefined")
    assert page.js("fetch('https://example.org/').then(() => 'sent', () => 'blocked')") == "blocked"
    assert any("Content Security Policy" in one for one in page.complaints)


def test_the_card_is_a_page_whose_markup_is_shown(page, url):
    assert "<script>" in CARD
    page.click("#card")
    page.until("document.title === 'Model card of tiny/7'")
    assert page.js("document.querySelector('td').textContent") == "accuracy"
    assert "<script>" in shown(page, "main")
    assert page.complaints == []
