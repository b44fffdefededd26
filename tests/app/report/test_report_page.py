"""The report in headless Chromium: every lit pixel against the formula, keys, touch, themes, no network."""

import io
import math
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maquette.app.report.report import write_report
from maquette.types import Camera, NormalMap, Photo
from maquette.viz.pictures import AMBIENT, CLAY

playwright = pytest.importorskip("playwright.sync_api", reason="playwright isn't installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)")

FLAGS = "--use-angle=swiftshader --enable-unsafe-swiftshader --force-color-profile=srgb --no-first-run"
QUIET = "--disable-background-networking --disable-component-update --disable-sync"
SIZE = 200
RADIUS = 0.9 * SIZE / 2
# For pixel by pixel comparisons: canvases of the map's size on whole pixels and an even ground, without what
# else lies on them (the sun, the mark of the focus).
ALIGNED = f"""#sun {{ visibility: hidden }} #light, #relief {{ position: fixed; z-index: 1; left: 0; top: 0;
  width: {SIZE}px; height: {SIZE}px; background: #506070; outline: none !important }}
  #relief {{ top: {SIZE + 20}px }}"""


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=f"{FLAGS} {QUIET}".split())
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("reports")


def grid(size: int = SIZE) -> tuple[torch.Tensor, torch.Tensor]:
    """x right and y up in pixels from the middle of the image."""
    axis = torch.arange(size) + 0.5 - size / 2
    return axis[None].expand(size, size), -axis[:, None].expand(size, size)


def report_of(path: Path, normals: torch.Tensor, mask: torch.Tensor, depth=None, camera=None) -> Path:
    photo = Photo(torch.where(mask[..., None], torch.tensor([0.5, 0.2, 0.1]), 0.0), mask, path.stem)
    write_report(path, photo, NormalMap(torch.where(mask[..., None], normals, 0.0), mask), depth, camera)
    return path


@pytest.fixture(scope="module")
def ball(folder) -> Path:
    """A hemisphere, orthographic, with its true depth."""
    x, y = grid()
    inside = x**2 + y**2 < RADIUS**2
    z = (RADIUS**2 - x**2 - y**2).clamp_min(0).sqrt()
    depth = torch.where(inside, 500 - z, torch.nan)
    return report_of(folder / "ball.html", torch.stack([x, y, z], -1) / RADIUS, inside, depth)


@pytest.fixture
def open_page(browser) -> Iterator:
    """Opens a report; at the end, nothing may have been asked of a network or said on the console."""
    contexts, complaints = [], []

    def opened(path: Path, script: str = "", aligned: bool = True, **how):
        context = browser.new_context(**{"viewport": {"width": 360, "height": 480}, **how})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(request.url) if is_foreign(request.url, path) else None)
        if script:
            page.add_init_script(script)
        page.goto(path.as_uri())
        page.locator("#light-reading:not(:empty), #notice:not([hidden])").first.wait_for()
        if aligned:
            page.add_style_tag(content=ALIGNED)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def is_foreign(url: str, path: Path) -> bool:
    return not url.startswith("data:") and url != path.as_uri()


def seen(page, name: str) -> np.ndarray:
    """What a person sees of a canvas, RGB 0..255."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return np.asarray(Image.open(io.BytesIO(page.locator(f"#{name}").screenshot())).convert("RGB")).astype(float)


def slide(page, name: str, value: float) -> None:
    page.locator(f"#{name}").fill(str(value))


def light_at(page, x: float, y: float) -> np.ndarray:
    """Puts the pointer where the light (x, y, .) is, and returns that light."""
    box = page.locator("#light").bounding_box()
    reach = min(box["width"], box["height"]) / 2
    page.mouse.move(box["x"] + box["width"] / 2 + x * reach, box["y"] + box["height"] / 2 - y * reach)
    return np.array([x, y, math.sqrt(1 - x * x - y * y)])


def display(linear: np.ndarray) -> np.ndarray:
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def matte(facing: np.ndarray) -> np.ndarray:
    return display(CLAY * (AMBIENT + facing.clip(0)) / (1 + AMBIENT))


def normals_on(picture: np.ndarray, radius: float, middle: tuple[float, float] = (0.0, 0.0)) -> tuple:
    """Normals of a ball in a picture, and where they are, clear of its rim."""
    height, width = picture.shape[:2]
    x = (np.arange(width) + 0.5 - width / 2 - middle[0])[None] / radius
    y = -(np.arange(height) + 0.5 - height / 2 + middle[1])[:, None] / radius
    inside = x**2 + y**2 < 0.94**2
    z = np.sqrt(np.where(inside, 1 - x**2 - y**2, 0))
    return np.stack(np.broadcast_arrays(x, y, z), -1), inside


@pytest.mark.parametrize("place", [(-0.6, 0.2), (0.5, -0.7), (0.0, 0.0)])
def test_every_pixel_of_a_ball_is_as_bright_as_it_faces_the_light(open_page, ball, place):
    page = open_page(ball)
    slide(page, "shininess", 0)
    light = light_at(page, *place)
    picture = seen(page, "light")
    normals, inside = normals_on(picture, RADIUS)
    off = np.abs(picture - matte(normals @ light)[..., None])[inside]
    assert off.max() < 2
    assert off.mean() < 0.5
    azimuth, elevation = math.degrees(math.atan2(place[1], place[0])) % 360, math.degrees(math.asin(light[2]))
    assert page.inner_text("#light-reading") == f"Light: azimuth {azimuth:.0f}°, elevation {elevation:.0f}°"


def test_shininess_adds_a_highlight_half_way_to_the_light_and_no_bands(open_page, ball):
    page = open_page(ball)
    light = light_at(page, -0.5, 0.4)
    slide(page, "shininess", 0.5)
    picture = seen(page, "light")
    normals, inside = normals_on(picture, RADIUS)
    half = light + [0, 0, 1]
    facing = (normals @ light).clip(0)
    lobe = (normals @ (half / np.linalg.norm(half))).clip(0) ** 64
    expected = display(CLAY * (AMBIENT + facing) / (1 + AMBIENT) + 0.06 * (64 + 8) / 8 * lobe * facing)
    assert np.abs(picture - expected[..., None])[inside].max() < 2.5


def test_the_keyboard_moves_the_light_and_home_puts_it_back(open_page, ball):
    page = open_page(ball)
    slide(page, "shininess", 0)
    first = seen(page, "light")
    page.focus("#light")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowDown")
    x, y = -0.5 - 0.08, 0.5 - 0.2 * 0.08
    picture = seen(page, "light")
    normals, inside = normals_on(picture, RADIUS)
    assert np.abs(picture - matte(normals @ [x, y, math.sqrt(1 - x * x - y * y)])[..., None])[inside].max() < 2
    assert picture[SIZE // 2, SIZE // 8].mean() > first[SIZE // 2, SIZE // 8].mean() + 2
    assert page.inner_text("#light-reading") == page.text_content("#said") == "Light: azimuth 140°, elevation 41°"
    page.keyboard.press("Home")
    assert np.array_equal(seen(page, "light"), first)


def test_without_bump_the_ball_is_a_flat_disc(open_page, ball):
    page = open_page(ball)
    slide(page, "shininess", 0)
    light = light_at(page, -0.6, 0.2)
    slide(page, "bump", 0)
    picture = seen(page, "light")
    _, inside = normals_on(picture, RADIUS)
    assert np.abs(picture[inside] - matte(light[2:])).max() < 1
    slide(page, "bump", 2)
    assert seen(page, "light")[inside].std() > 40


def test_the_surface_takes_the_photos_colour_and_start_again_undoes_all(open_page, ball):
    page = open_page(ball)
    first = seen(page, "light")
    page.get_by_label("Clay", exact=True).focus()
    page.keyboard.press("ArrowRight")
    slide(page, "bump", 0.5)
    red, green, blue = seen(page, "light")[100, 100]
    assert red > green + 40 > blue + 40
    page.focus("#reset")  # by keys: a pointer on its way there would move the light
    page.keyboard.press("Enter")
    assert np.array_equal(seen(page, "light"), first)


def test_a_turned_relief_of_a_ball_is_lit_as_a_ball(open_page, ball):
    page = open_page(ball)
    slide(page, "shininess", 0)
    light = light_at(page, -0.4, 0.5)
    page.focus("#relief")
    page.keyboard.press("Home")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert page.inner_text("#relief-reading") == "Turned by 25°, tilted by 0°"
    picture = seen(page, "relief")
    ground = picture[0, 0]
    height, width = picture.shape[:2]
    # A hemisphere is as deep as half its width, which the page leaves room for, and turns about half its depth.
    radius = 0.92 / 2 * min(width, height) / math.hypot(1, 0.5)
    normals, inside = normals_on(picture, radius, (-math.sin(math.radians(25)) * radius / 2, 0.0))
    turned_away = normals @ [math.sin(math.radians(25)), 0, math.cos(math.radians(25))] < 0.12
    sheet = inside & ~turned_away
    off = np.abs(picture - matte(normals @ light)[..., None])[sheet]
    assert np.quantile(off, 0.99) < 8
    assert off.mean() < 1.5
    assert (np.abs(picture - ground)[inside & (normals @ [math.sin(0.44), 0, math.cos(0.44)] < -0.1)] < 2).all()


def test_dragging_turns_the_relief_and_depth_flattens_it(open_page, ball):
    page = open_page(ball)
    page.focus("#relief")
    page.keyboard.press("Home")
    box = page.locator("#relief").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 80, steps=5)
    page.mouse.up()
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    assert page.inner_text("#relief-reading") == "Turned by 20°, tilted by -8°"
    slide(page, "depth", 0)
    flat = seen(page, "relief")
    on_it = np.abs(flat - flat[0, 0]).max(axis=-1) > 5
    assert on_it.mean() > 0.2
    assert np.median(np.abs(flat[on_it] - np.median(flat[on_it], axis=0))) < 1


def test_a_step_of_depth_is_torn_and_a_smooth_sheet_is_not(open_page, folder):
    wall = torch.zeros(SIZE, SIZE, 3)
    wall[..., 2] = 1
    everywhere = torch.ones(SIZE, SIZE, dtype=torch.bool)
    step = torch.where(grid()[0] < 0, 100.0, 200.0)
    page = open_page(report_of(folder / "step.html", wall, everywhere, step))
    assert gap(page) > 20
    slope = 100 + 0.5 * grid()[0]
    page = open_page(report_of(folder / "slope.html", wall, everywhere, slope))
    assert gap(page) == 0


def gap(page) -> int:
    """Columns of ground between the leftmost and the rightmost of the relief, turned to show a step's face."""
    page.focus("#relief")
    page.keyboard.press("Home")
    for _ in range(9):
        page.keyboard.press("ArrowLeft")
    row = seen(page, "relief")[SIZE // 2]
    columns = np.flatnonzero(np.abs(row - row[0]).max(axis=-1) > 5)
    return int(columns[-1] - columns[0] + 1 - len(columns))


def test_depth_of_a_perspective_camera_is_a_flat_plane_seen_edge_on(open_page, folder):
    slant = math.radians(40)
    normal = torch.tensor([math.sin(slant), 0, math.cos(slant)])
    camera = Camera(SIZE, SIZE, 150.0, (SIZE / 2, SIZE / 2), torch.eye(4))
    x, y = grid()
    rays = torch.stack([x / 150, y / 150, -torch.ones_like(x)], -1)
    depth = -10 / (rays @ normal)  # of the plane n . p = -10
    everywhere = torch.ones(SIZE, SIZE, dtype=torch.bool)
    page = open_page(report_of(folder / "plane.html", normal.expand(SIZE, SIZE, 3), everywhere, depth, camera))
    page.focus("#relief")
    page.keyboard.press("Home")
    widths = []
    for presses in (0, 10):
        for _ in range(presses):
            page.keyboard.press("ArrowRight")
        picture = seen(page, "relief")
        widths.append(int((np.abs(picture - picture[0, 0]).max(axis=(0, 2)) > 5).sum()))
    assert widths[0] > 60
    assert widths[1] <= 2


def test_themes_follow_the_system_and_the_button(open_page, ball):
    def ground(page) -> float:
        return float(np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"))[2, 2])

    page = open_page(ball, aligned=False, color_scheme="light")
    assert ground(page) > 230
    page.get_by_role("button", name="Dark").click()
    assert ground(page) < 40
    page = open_page(ball, aligned=False, color_scheme="dark")
    assert ground(page) < 40
    assert page.get_attribute("#theme", "aria-pressed") == "true"
    page.get_by_role("button", name="Dark").click()
    assert ground(page) > 230


def test_on_a_phone_nothing_overflows_and_a_finger_is_the_light(open_page, ball):
    page = open_page(ball, aligned=False, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    slide(page, "shininess", 0)
    page.locator("#light").scroll_into_view_if_needed()
    box = page.locator("#light").bounding_box()
    brightness = []
    for share in (0.15, 0.85):
        page.touchscreen.tap(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        picture = seen(page, "light")
        brightness.append([half.mean() for half in np.array_split(picture, 2, axis=1)])
    assert brightness[0][0] > brightness[0][1] + 20
    assert brightness[1][1] > brightness[1][0] + 20


def test_every_control_is_reached_by_tab_and_has_a_name(open_page, ball):
    page = open_page(ball, aligned=False)
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.name"))
    assert reached == ["theme", "light", "shininess", "bump", "surface", "reset", "relief", "depth"]
    for role, name in [
        ("application", "Under your light"),
        ("application", "As a relief"),
        ("slider", "Shininess"),
        ("slider", "Bump"),
        ("slider", "Depth"),
        ("radio", "Clay"),
        ("img", "the photo"),
    ]:
        assert page.get_by_role(role, name=name, exact=True).count() == 1, name


def test_the_page_says_what_frame_its_map_is_in(open_page, ball):
    assert "x right, y up, z towards the viewer" in open_page(ball).locator("dl").inner_text()


def test_without_webgl_one_line_says_so_and_the_pictures_stay(open_page, ball):
    page = open_page(ball, script="HTMLCanvasElement.prototype.getContext = () => null")
    notice = page.locator("#notice")
    assert "this browser has no WebGL 2" in notice.inner_text()
    assert "\n" not in notice.inner_text()
    assert not page.locator("#light").is_visible()
    assert not page.locator("#relief").is_visible()
    widths = page.evaluate("[...document.images].map((image) => image.naturalWidth)")
    assert widths == [SIZE, SIZE]


def test_the_page_may_not_reach_out(browser, ball):
    """Even if something in it tried: nobody connects to a server that listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.png"
        server.settimeout(0.3)
        context = browser.new_context()
        page = context.new_page()
        page.goto(ball.as_uri())
        fetched = page.evaluate(f"fetch('{address}', {{mode: 'no-cors'}}).then(() => true, () => false)")
        load = "new Promise((done) => Object.assign(new Image(), {onload: () => done(1), onerror: () => done(0), src}))"
        loaded = page.evaluate(f"(src) => {load}", address)
        assert (fetched, loaded) == (False, 0)
        with pytest.raises(TimeoutError):
            server.accept()
        context.close()
