// The controls: pointer, touch and keys change one state, and every change draws what is in sight of it.

const data = JSON.parse(document.getElementById("data").textContent);
const find = (id) => document.getElementById(id);
const FIRST = { light: [-0.5, 0.5], shininess: 0.3, bump: 1, surface: "clay" };
const state = { ...FIRST, yaw: 28, pitch: 12, depth: 1 };
const views = [];
let waiting = false;

/** Sets what has changed; draws once before the next picture of the screen. */
function change(what) {
  Object.assign(state, what);
  read();
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    views.forEach((draw) => draw(state));
  });
}

/** What the state is, in words, and the sun where the light comes from. */
function read() {
  const [x, y] = state.light;
  const azimuth = Math.round(((Math.atan2(y, x) * 180) / Math.PI + 360) % 360) % 360;
  const elevation = Math.round((Math.acos(Math.min(1, Math.hypot(x, y))) * 180) / Math.PI);
  find("light-reading").textContent = `Light: azimuth ${azimuth}°, elevation ${elevation}°`;
  for (const name of ["shininess", "bump", "depth"])
    if (find(name)) find(`${name}-value`).textContent = Number(find(name).value).toFixed(2);
  const canvas = find("light");
  const reach = Math.min(canvas.clientWidth, canvas.clientHeight) / 2;
  find("sun").style.left = `${canvas.clientWidth / 2 + x * reach}px`;
  find("sun").style.top = `${canvas.clientHeight / 2 - y * reach}px`;
  if (find("relief")) find("relief-reading").textContent = `Turned by ${Math.round(state.yaw)}°, tilted by ${Math.round(state.pitch)}°`;
}

/** A light from the direction (x, y) of the image plane; one on the rim would graze. */
function lightTo(x, y) {
  const shrink = Math.min(1, 0.99 / Math.max(Math.hypot(x, y), 1e-9));
  change({ light: [x * shrink, y * shrink] });
}

function turnTo(yaw, pitch) {
  const bound = (degrees) => Math.max(-80, Math.min(80, degrees));
  change({ yaw: bound(yaw), pitch: bound(pitch) });
}

/** Arrow keys as steps (right, up), Home as a way back; says what came of it to a screen reader. */
function onKeys(canvas, step, home, reading) {
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Home") home();
    else if (event.key in arrows) step(...arrows[event.key].map((sign) => sign * (event.shiftKey ? 0.2 : 1)));
    else return;
    event.preventDefault();
    find("said").textContent = reading.textContent;
  });
}

/** The light is over the canvas where the pointer is: half the short side from the middle is the horizon. */
function moveLight(canvas) {
  const follow = (event) => {
    const box = canvas.getBoundingClientRect();
    const reach = Math.min(box.width, box.height) / 2;
    lightTo((event.clientX - box.x - box.width / 2) / reach, (box.y + box.height / 2 - event.clientY) / reach);
  };
  canvas.addEventListener("pointermove", follow);
  canvas.addEventListener("pointerdown", follow);
  onKeys(canvas, (right, up) => lightTo(state.light[0] + 0.08 * right, state.light[1] + 0.08 * up),
    () => change({ light: FIRST.light }), find("light-reading"));
}

function turnRelief(canvas) {
  let last = null;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = [event.clientX, event.clientY];
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    turnTo(state.yaw + 0.4 * (event.clientX - last[0]), state.pitch + 0.4 * (event.clientY - last[1]));
    last = [event.clientX, event.clientY];
  });
  onKeys(canvas, (right, up) => turnTo(state.yaw + 5 * right, state.pitch - 5 * up),
    () => turnTo(0, 0), find("relief-reading"));
}

function controls() {
  for (const name of ["shininess", "bump", "depth"])
    find(name)?.addEventListener("input", (event) => change({ [name]: Number(event.target.value) }));
  for (const choice of document.getElementsByName("surface"))
    choice.addEventListener("change", () => change({ surface: choice.value }));
  find("reset").addEventListener("click", () => {
    for (const name of ["shininess", "bump"]) find(name).value = FIRST[name];
    document.getElementsByName("surface")[0].checked = true;
    change(FIRST);
  });
}

function themes() {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  const show = () => find("theme").setAttribute("aria-pressed", String(isDark()));
  find("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    show();
  });
  dark.addEventListener("change", show);
  show();
}

function giveUp(why) {
  find("notice").textContent = why;
  find("notice").hidden = false;
  for (const id of ["light-scene", "relief-scene"]) if (find(id)) find(id).hidden = true;
}

async function picture(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

themes();
const stages = [["light", lightView, moveLight], ["relief", reliefView, turnRelief]].filter(([id]) => find(id));
try {
  const [codes, albedo] = await Promise.all([picture(data.codes), picture(data.albedo)]);
  for (const [id, make, move] of stages) {
    views.push(make(find(id), codes, albedo, data));
    move(find(id));
    find(id).addEventListener("webglcontextlost", () => giveUp("The graphics card let go of this page; reload it to see the light again."));
  }
  controls();
  const resized = new ResizeObserver(() => change({}));
  stages.forEach(([id]) => resized.observe(find(id)));
  change({});
} catch (error) {
  giveUp(`The light can't be shown here: ${error.message}; the pictures below are whole.`);
}
