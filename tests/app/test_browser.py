"""The page in Chromium over the real server: every function, with the keyboard, in the dark, as wide as a phone.

Screenshots go to the folder that CASCADE_SCREENSHOTS names, if it does.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cascade import Gallery
from tests.app.helpers import ROOT, png, running_server
from tests.photos import PORTRAIT

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, as of Debian's package chromium"),
]

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the camera sees: the portrait."""
    path = tmp_path_factory.mktemp("camera") / "portrait.mjpeg"
    frame = tmp_path_factory.mktemp("frame") / "frame.jpg"
    Image.open(PORTRAIT).resize((480, 480)).save(frame, quality=92)
    path.write_bytes(frame.read_bytes() * 3)
    return path


@pytest.fixture(scope="module")
def browser(video: Path) -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        flags = [*FLAGS, f"--use-file-for-fake-video-capture={video}"]
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield opened
        opened.close()


class Watched:
    """A page, and what went wrong in it."""

    def __init__(self, page: Any, address: str) -> None:
        self.page, self.address = page, address
        self.errors: list[str] = []
        self.outside: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._console)
        page.on("request", lambda request: self._request(request.url))
        page.goto(address)
        page.wait_for_selector("#about:has-text('cascade')")

    def _console(self, message: Any) -> None:
        expected = message.text.startswith("Failed to load resource")  # of a photo that the server refused
        if message.type in ("error", "warning") and not expected:
            self.errors.append(message.text)

    def _request(self, url: str) -> None:
        if not url.startswith((self.address.partition("#")[0], "blob:")):
            self.outside.append(url)

    def shot(self, name: str) -> None:
        folder = os.environ.get("CASCADE_SCREENSHOTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    def status(self, words: str) -> None:
        self.page.wait_for_selector(f"#status:has-text('{words}')")

    def download(self, selector: str) -> bytes:
        with self.page.expect_download() as started:
            self.page.click(selector)
        return Path(started.value.path()).read_bytes()


@pytest.fixture
def watch(browser: Any, server: str) -> Iterator[Any]:
    """A function that opens the page, with options of the browser's context; nothing may go wrong in it."""
    opened: list[tuple[Any, Watched]] = []

    def start(address: str = server, **options: Any) -> Watched:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        opened.append((context, Watched(context.new_page(), address)))
        return opened[-1][1]

    yield start
    for context, watched in opened:
        context.request.delete(f"{server}api/gallery")
        context.close()
        assert watched.errors == []
        assert watched.outside == []


@pytest.fixture
def two(tmp_path: Path) -> str:
    path = tmp_path / "two.png"
    path.write_bytes(png(2))
    return str(path)


def test_faces_of_photos(watch, two, tmp_path):
    seen = watch()
    page = seen.page
    (tmp_path / "text.jpg").write_text("no photo")
    page.set_input_files("#faces-files", [two, str(PORTRAIT), str(tmp_path / "text.jpg")])
    seen.status("3 photos done, 1 with problems")
    card = page.locator("article", has_text="astronaut.jpg")
    assert card.locator("svg rect").count() == 1
    assert card.locator("svg circle").count() == 68 + 5
    words = card.locator("li").inner_text()
    for part in ("looks 33 years old", "gender female", "expression happy", "smiling", "yaw", "nobody of the gallery"):
        assert part in words
    assert "ethnicity" not in words
    assert page.locator("article", has_text="two.png").locator("li").count() == 2
    wrong = page.locator("article", has_text="text.jpg").locator(".problem")
    assert "The photo cannot be used: expected JPEG" in wrong.inner_text()
    box, picture = (card.locator(part).bounding_box() for part in ("svg rect", "img"))
    share = (box["x"] + box["width"] / 2 - picture["x"]) / picture["width"]
    assert share == pytest.approx(226 / 512, abs=0.01)  # where the face is in the photo
    seen.shot("faces")


def test_ethnicity_only_when_switched_on(watch):
    seen = watch()
    page = seen.page
    note = page.locator("#ethnicity-note")
    assert not note.is_visible()
    page.check("#want-ethnicity")
    assert note.is_visible()
    assert "Do not decide about anybody by it" in note.inner_text()
    page.set_input_files("#faces-files", str(PORTRAIT))
    page.wait_for_selector("article li:has-text('ethnicity')")
    seen.shot("ethnicity")
    page.uncheck("#want-ethnicity")
    assert not note.is_visible()


def test_results_are_saved(watch, two):
    seen = watch()
    seen.page.set_input_files("#faces-files", two)
    seen.status("1 photo done")
    told = json.loads(seen.download("#save-json"))
    assert [len(photo["faces"]) for photo in told] == [2]
    assert told[0]["path"] == "two.png"
    rows = list(csv.DictReader(seen.download("#save-csv").decode().splitlines()))
    assert [row["path"] for row in rows] == ["two.png", "two.png"]
    seen.page.click("#faces-clear")
    assert seen.page.locator("article").count() == 0
    assert seen.page.evaluate("document.activeElement.id") == "faces-files"


def test_people_are_named_found_saved_and_forgotten(watch, two, tmp_path):
    seen = watch()
    page = seen.page
    page.set_input_files("#faces-files", str(PORTRAIT))
    page.locator("article input").fill("Eileen/Collins")
    page.click("article form button")
    page.wait_for_selector("article [role=status]:has-text('is in the gallery now')")
    page.click("article form button")
    page.wait_for_selector("article .problem:has-text('There is somebody called')")
    page.click("text=It is the same Eileen/Collins")
    page.wait_for_selector("article [role=status]:has-text('is in the gallery now')")
    page.click("#faces-again")
    page.wait_for_selector("article li:has-text('maybe Eileen/Collins')")
    assert page.locator("svg text").inner_html() == "1 Eileen/Collins"
    page.click("#tab-people")
    assert page.locator("#people-list li").inner_text().split("\n") == ["Eileen/Collins", "2 photos", "Forget"]
    assert "in memory alone" in page.locator("#people-where").inner_text()
    page.fill("#add-name", "Another")
    page.set_input_files("#add-files", two)
    page.click("#add-form > button")
    page.wait_for_selector("#problem:has-text('two.png: The photo should show one face, but it shows 2 faces.')")
    page.set_input_files("#add-files", str(PORTRAIT))
    page.click("#add-form > button")
    seen.status("Another is in the gallery")
    seen.shot("people")
    saved = tmp_path / "people.gallery"
    saved.write_bytes(seen.download("#gallery-save"))
    assert Gallery.load(saved).counts == {"Eileen/Collins": 2, "Another": 1}
    page.click("[aria-label='Forget Another']")
    seen.status("Another is forgotten")
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("#gallery-clear")
    seen.status("Nobody is in the gallery any more")
    assert page.locator("#people-list li").count() == 0
    page.set_input_files("#gallery-file", str(saved))
    seen.status("The people of people.gallery are in the gallery.")
    assert page.locator("#people-list li").count() == 2
    page.set_input_files("#gallery-file", str(PORTRAIT))
    page.wait_for_selector("#problem:has-text('The gallery cannot be used')")


def test_two_photos_are_compared(watch, two, tmp_path):
    seen = watch()
    page = seen.page
    page.click("#tab-compare")
    page.set_input_files("#first-file", str(PORTRAIT))
    seen.status("Now choose the other photo")
    page.set_input_files("#second-file", two)
    page.wait_for_selector("#comparison:has-text('the same person')")
    assert "similarity is 0.9" in page.locator("#comparison").inner_text()
    seen.shot("compare")
    page.uncheck("#compare-largest")
    page.wait_for_selector("#problem:has-text('The second photo should show one face, but it shows 2 faces')")
    tiny = tmp_path / "tiny.png"
    Image.open(PORTRAIT).resize((80, 80), Image.Resampling.LANCZOS).save(tiny)
    for name in ("first", "second"):
        page.set_input_files(f"#{name}-file", str(tiny))
    page.wait_for_selector("#comparison:has-text('cannot tell')")
    assert "too small to tell" in page.locator("#comparison").inner_text()


def test_faces_are_hidden(watch, two):
    seen = watch()
    page = seen.page
    page.click("#tab-hide")
    page.select_option("#hide-method", "pixelate")
    page.set_input_files("#hide-files", [two, str(PORTRAIT)])
    seen.status("2 photos done")
    assert page.locator("#hide-results article").count() == 2
    data = seen.download("text=Save two-hidden.png")
    assert data.startswith(b"\x89PNG")
    assert data != Path(two).read_bytes()
    assert seen.download("text=Save astronaut-hidden.jpg").startswith(b"\xff\xd8")
    seen.shot("hide")


def test_the_camera(watch):
    seen = watch()
    page = seen.page
    page.click("#camera-on")
    page.wait_for_selector("#camera:visible")
    assert page.evaluate("document.activeElement.id") == "camera-title"
    page.check("#camera-live")
    page.wait_for_selector("#camera svg rect", state="attached")
    page.wait_for_selector("#camera-words:has-text('1 face')")
    seen.shot("camera")
    page.uncheck("#camera-live")
    page.click("#camera-take")
    page.wait_for_selector("article:has-text('camera-') li")
    page.click("#camera-off")
    assert not page.locator("#camera").is_visible()
    assert page.locator("#camera-video").evaluate("video => video.srcObject") is None


def test_a_camera_that_is_not_there(watch):
    seen = watch()
    refused = "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotFoundError'))"
    seen.page.evaluate(refused.join(["() => { ", " }"]))
    seen.page.click("#camera-on")
    seen.page.wait_for_selector("#problem:has-text('There is no camera.')")


DROP = """([selector, name, data, kind]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
  const event = kind === "paste"
    ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true })
    : new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.querySelector(selector).dispatchEvent(event);
}"""


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_photos_are_dropped_and_pasted(watch, kind):
    import base64

    seen = watch()
    data = base64.b64encode(PORTRAIT.read_bytes()).decode()
    selector = "#faces .drop" if kind == "drop" else "body"
    seen.page.evaluate(DROP, [selector, f"{kind}.jpg", data, kind])
    seen.page.wait_for_selector(f"article:has-text('{kind}.jpg') li")


def test_work_is_cancelled(watch, tmp_path):
    seen = watch()
    files = []
    for number in range(12):
        path = tmp_path / f"{number}.png"
        path.write_bytes(png(2, 900, 900))
        files.append(str(path))
    seen.page.set_input_files("#faces-files", files)
    seen.page.wait_for_selector("#faces-progress:visible")
    seen.page.wait_for_selector("article li")
    seen.page.click("#faces-cancel")
    seen.status("cancelled")
    assert not seen.page.locator("#faces-progress").is_visible()


def test_the_keyboard_alone(watch):
    seen = watch()
    page = seen.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "tab-faces"
    for key, tab in (
        ("ArrowRight", "compare"), ("End", "hide"), ("ArrowRight", "faces"), ("ArrowLeft", "hide"), ("Home", "faces"),
    ):  # fmt: skip
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.id") == f"tab-{tab}"
        assert page.locator(f"#{tab}").is_visible()
        assert page.locator("[role=tabpanel]:visible").count() == 1
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "faces-files"
    page.set_input_files("#faces-files", str(PORTRAIT))
    page.wait_for_selector("article li")
    choose = page.locator("article li button").first
    choose.focus()
    page.keyboard.press("Enter")
    assert choose.get_attribute("aria-pressed") == "true"
    assert "chosen" in page.locator("svg rect").get_attribute("class")


def test_every_control_has_a_name_and_every_picture_words(watch, two):
    seen = watch()
    page = seen.page
    page.set_input_files("#faces-files", two)
    page.wait_for_selector("article li")
    for tab in ("faces", "compare", "people", "hide"):
        page.click(f"#tab-{tab}")
        for control in page.get_by_role("button").all() + page.get_by_role("textbox").all():
            assert control.evaluate(NAME).strip(), control.evaluate("element => element.outerHTML")
        for control in page.locator("input:visible, select:visible").all():
            assert control.evaluate(NAME).strip(), control.evaluate("element => element.outerHTML")
    assert all(page.locator("img").evaluate_all("images => images.map((image) => image.alt)"))
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("[role=status]").count() >= 1
    assert page.locator("[role=alert]").count() == 1


NAME = """(element) => element.getAttribute("aria-label") || element.textContent
  || [...(element.labels ?? [])].map((label) => label.textContent).join(" ")"""


@pytest.mark.parametrize(
    ("name", "options"),
    [("dark", {"color_scheme": "dark"}), ("phone", {"viewport": PHONE, "has_touch": True, "is_mobile": True})],
)
def test_dark_and_on_a_phone(watch, two, name, options):
    seen = watch(**options)
    page = seen.page
    page.set_input_files("#faces-files", [two, str(PORTRAIT)])
    seen.status("2 photos done")
    widths = "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    for tab in ("faces", "compare", "people", "hide"):
        page.click(f"#tab-{tab}")
        seen.shot(f"{name}-{tab}")
        scrolled, shown = page.evaluate(widths)
        assert scrolled <= shown  # nothing to scroll sideways
    dark = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert dark == ("rgb(16, 22, 21)" if name == "dark" else "rgb(255, 255, 255)")


def test_the_policy_keeps_other_hosts_out(watch):
    """Scripts of the page cannot reach another host, whatever they try."""
    seen = watch()
    tries = {
        "fetch": "fetch('http://127.0.0.2:9/').then(() => 'reached', () => 'refused')",
        "image": "new Promise((tell) => { const image = new Image(); image.onload = () => tell('reached'); "
        "image.onerror = () => tell('refused'); image.src = 'http://127.0.0.2:9/x.png'; })",
        "eval": later("Function('return 1')()"),
        "markup": later("document.body.innerHTML = '<p>'"),
    }
    for name, code in tries.items():
        assert seen.page.evaluate(f"() => {code}") == "refused", name
    assert seen.errors  # the browser said so
    assert [url for url in seen.outside if not url.startswith("http://127.0.0.2:9/")] == []
    seen.errors.clear()
    seen.outside.clear()


def later(code: str) -> str:
    """Code that tries something in a task of the page's own: what Playwright itself evaluates may do anything."""
    tried = f"try {{ {code}; tell('reached'); }} catch {{ tell('refused'); }}"
    return f"new Promise((tell) => setTimeout(() => {{ {tried} }}))"


def test_a_token_is_asked_for(watch):
    token = "the-token-of-the-test"
    with running_server("--token", token, "--workers", "1") as running:
        seen = watch(f"{running.address}#token={token}")
        assert seen.page.url == running.address  # the token is not in the address any more
        other = seen.page.context.browser.new_context().new_page()
        other.goto(running.address)
        other.wait_for_selector("#token-form:visible")
        assert "token is missing or wrong" in other.locator("#problem").inner_text()
        other.fill("#token", token)
        other.click("#token-form button")
        other.wait_for_selector("#about:has-text('cascade')")
        assert not other.locator("#token-form").is_visible()
        other.context.close()


def test_a_server_that_has_stopped(watch):
    with running_server("--workers", "1") as running:
        seen = watch(running.address)
        running.stop()
        seen.page.set_input_files("#faces-files", str(PORTRAIT))
        seen.page.wait_for_selector("article .problem:has-text('The server does not answer')")


def test_pages_of_other_sites_get_nothing(browser, server):
    """A page of another origin, here of another port, cannot read from the server nor change anything."""
    with running_server("--workers", "1") as running:
        context = browser.new_context(bypass_csp=True)
        page = context.new_page()
        page.goto(running.address)
        for method in ("GET", "DELETE"):
            code = f"fetch('{server}api/gallery', {{ method: '{method}', mode: 'no-cors' }})"
            status = page.evaluate(f"() => {code}.then((answer) => answer.type, () => 'refused')")
            assert status in ("opaque", "refused")
        told = page.evaluate(f"() => fetch('{server}api/about').then(() => 'read', () => 'refused')")
        assert told == "refused"
        context.close()


def test_the_static_files_are_in_the_package_data():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "app/static/*" in project["tool"]["setuptools"]["package-data"]["cascade"]
