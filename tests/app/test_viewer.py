"""`maquette view`: what it takes from each kind of file, its server, and what a browser then draws."""

import io
import math
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from maquette.app.cli.main import main
from maquette.errors import InputError
from maquette.geometry.sh import DC
from maquette.io.normal_maps import write_normal_map
from maquette.io.splats.files import write_splat
from maquette.types import Gaussians, NormalMap

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = "--use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader --ignore-gpu-blocklist"
QUIET = "--no-first-run --disable-background-networking --disable-component-update --disable-sync --disable-quic"
SIDE = 256


def red_and_green(count: int = 200) -> Gaussians:
    """A red cloud on the left and a green one on the right, dense."""
    colors = torch.tensor([[0.9, 0.05, 0.05], [0.05, 0.8, 0.05]]).repeat_interleave(count, 0)
    strewn = torch.rand(2 * count, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    return Gaussians(
        strewn + torch.tensor([[-1.0, 0, 0], [1, 0, 0]]).repeat_interleave(count, 0),
        torch.full((2 * count, 3), 0.08),
        torch.tensor([[1.0, 0, 0, 0]]).expand(2 * count, 4).contiguous(),
        torch.full((2 * count,), 0.95),
        ((colors - 0.5) / DC)[:, None],
        encoding="srgb",
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("shown")
    box = trimesh.creation.box((1, 2, 3))
    box.visual.vertex_colors = np.tile([[200, 30, 30, 255]], (8, 1))
    for name in ("box.ply", "box.glb", "box.stl", "box.obj"):
        box.export(folder / name)
    (folder / "text.ply").write_text(box.export(file_type="ply", encoding="ascii").decode())
    normals = torch.zeros(24, 32, 3)
    normals[..., 2] = 1
    write_normal_map(folder / "flat.png", NormalMap(normals, torch.ones(24, 32, dtype=torch.bool)))
    write_splat(folder / "two.ply", red_and_green())
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def running(monkeypatch):
    """Servers that end with the test."""
    pytest.importorskip("viser", reason="viser isn't installed")
    from maquette.app.viewer import serve, stop

    servers = []

    def run(shown):
        servers.append(serve(shown, 0))
        return servers[-1]

    yield run
    for server in servers:
        stop(server)


@pytest.mark.parametrize(
    ("name", "kind", "count", "size"),
    [
        ("two.ply", "splat", 400, (3.3, 1.3, 1.3)),
        ("box.ply", "mesh", 12, (1, 2, 3)),
        ("text.ply", "mesh", 12, (1, 2, 3)),
        ("box.glb", "mesh", 12, (1, 2, 3)),
        ("box.stl", "mesh", 12, (1, 2, 3)),
        ("box.obj", "mesh", 12, (1, 2, 3)),
        ("flat.png", "normals", 2 * 23 * 31, (1, 23 / 31, 0)),
    ],
)
def test_what_a_file_is_and_how_large(files, name, kind, count, size):
    from maquette.app.viewer import read_shown

    shown = read_shown(files[name])
    assert (shown.kind, shown.count) == (kind, count)
    np.testing.assert_allclose(shown.high - shown.low, size, atol=0.04)


def test_of_too_many_splats_the_largest_are_shown_and_that_is_said(files, monkeypatch):
    from maquette.app import viewer

    class Scene:
        def add_gaussian_splats(self, _name, **given):
            self.given = given

    monkeypatch.setattr(viewer, "_MOST_SPLATS", 3)
    path = write_splat(files["two.ply"].with_name("three.spz"), red_and_green())
    with pytest.warns(UserWarning, match="of its 400 Gaussians the 3 largest are shown"):
        shown = viewer.read_shown(path)
    scene = Scene()
    shown.put(scene)
    assert scene.given["centers"].shape == (3, 3)
    assert scene.given["opacities"].shape == (3, 1)
    np.testing.assert_allclose(scene.given["covariances"][0], np.eye(3) * 0.0064, rtol=0.1, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.ply", b"ply\nlies", "no end_header"),
        ("b.ply", b"ply\nformat ascii 1.0\nelement vertex nine\nend_header\n", "not a whole mesh"),
        ("a.glb", b"glTF" + bytes(40), "not a whole mesh"),
        ("a.stl", b"solid nothing\nendsolid nothing\n", "no triangles"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\n", "no triangles"),
        ("b.stl", bytes(80) + struct.pack("<I12fH", 1, *3 * [0.0, 0, 1], *3 * [math.inf], 0), "no triangles"),
        ("a.spz", b"no", "not an SPZ file"),
        ("a.png", b"no", "not a whole image"),
        ("a.xyz", b"1 2 3", "not a whole image"),
        ("c.ply", None, "no such file"),
        ("c.glb", None, "no such file"),
        ("c.png", None, "no such file"),
    ],
)
def test_files_that_cannot_be_shown_are_one_line(tmp_path, capfd, name, content, message):
    pytest.importorskip("viser", reason="viser isn't installed")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert main(["view", str(tmp_path / name), "--port", "0"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"maquette: {tmp_path / name}: ")
    assert message in err


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_that_is_none(capfd, port):
    assert main(["view", "a.ply", f"--port={port}"]) == 2
    assert f"'{port}' is no port" in capfd.readouterr().err


def test_without_viser_one_line_says_what_to_type(files, capfd, monkeypatch):
    monkeypatch.setattr("maquette.app.cli.view.find_spec", lambda _: None)
    assert main(["view", str(files["two.ply"])]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "pip install 'maquette[view]'" in err
    from maquette.app.viewer import read_shown, serve

    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(InputError, match="needs viser"):
        serve(read_shown(files["two.ply"]), 0)


def test_the_verb_serves_until_it_is_interrupted(files):
    viser = pytest.importorskip("viser", reason="viser isn't installed")
    from websockets.sync.client import connect

    process = subprocess.Popen(
        [sys.executable, "-m", "maquette.app.cli.main", "view", str(files["two.ply"]), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(rf"{re.escape(str(files['two.ply']))} at http://127\.0\.0\.1:(\d+) .*\n", line)
        assert found, (line, process.poll())
        page = urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/", timeout=30).read()
        assert b"<html" in page
        protocol = f"viser-v{viser.__version__}"
        with connect(f"ws://127.0.0.1:{found[1]}", subprotocols=[protocol], max_size=None) as socket:  # pyright: ignore
            said = socket.recv(timeout=30)
        assert isinstance(said, bytes) and len(said) > 32 * 400  # what it takes to tell so many splats
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, "", "")
    finally:
        process.kill()
        process.wait()


def drawn(server, enough, seconds: float = 90.0) -> np.ndarray:
    """The canvas in headless Chromium as soon as `enough` says so of it; it fades in, slowly without a GPU."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright isn't installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    picture, end = np.zeros((SIDE, SIDE, 3), int), time.monotonic() + seconds
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=f"{FLAGS} {QUIET}".split())
        page = browser.new_page(viewport={"width": SIDE, "height": SIDE})
        page.goto(f"http://127.0.0.1:{server.get_port()}/")
        page.add_style_tag(content="body *:not(:has(canvas)):not(canvas) { visibility: hidden }")
        while not enough(picture) and time.monotonic() < end:
            content = page.screenshot(timeout=60_000)
            picture = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
        browser.close()
    return picture


def test_a_browser_draws_the_splat_in_its_colours_the_right_way_around(files, running):
    from maquette.app.viewer import read_shown

    def enough(picture: np.ndarray) -> bool:
        red, green, _ = np.moveaxis(picture, -1, 0)
        return bool((red - green).max() > 150 and (green - red).max() > 130)

    picture = drawn(running(read_shown(files["two.ply"])), enough)
    assert enough(picture)
    red, green, _ = np.moveaxis(picture, -1, 0)
    left, right = np.argwhere(red - green > 100)[:, 1], np.argwhere(green - red > 100)[:, 1]
    assert len(left) > 200 and len(right) > 200
    assert left.mean() < SIDE / 2 - 20 < SIDE / 2 + 20 < right.mean()


def test_a_browser_draws_a_mesh_in_its_colours(files, running):
    from maquette.app.viewer import read_shown

    def enough(picture: np.ndarray) -> bool:
        return bool((picture[..., 0] - picture[..., 1] > 60).sum() > 2000)

    picture = drawn(running(read_shown(files["box.glb"])), enough)
    assert enough(picture)
    assert (picture[:8].min(-1) > 240).all()  # the box doesn't reach the border
