// The turned view: the grid of depth as a sheet, lit by the normals of the map.

const RELIEF_VERTEX = `
in vec3 position;
in vec2 place;
out vec2 uv;
uniform mat3 turn;
uniform vec3 zoom;
uniform float depth;
void main() {
  uv = place;
  gl_Position = vec4(turn * (position * vec3(1.0, 1.0, depth)) * zoom, 1.0);  // parallel: straight edges stay so
}`;

const RELIEF_FRAGMENT = `${SHADE}
uniform mat3 turn;
in vec2 uv;
out vec4 colour;
void main() {
  vec4 found = normalAt(uv);
  if (found.w < 0.5) discard;
  vec3 n = turn * steeper(found.xyz);
  colour = vec4(shaded(gl_FrontFacing ? n : -n, uv), 1.0);
}`;

// Where neighbours lie steeper than this, the sheet is torn: no normal map tells what is between them.
const TEAR = Math.tan((85 * Math.PI) / 180);

/** Points about the middle, as wide or as high as -1..1, the triangles between them, and half their extent. */
function sheet(relief) {
  const { rows, columns, nearest, farthest, size, focal, center, orthographic } = relief;
  const bytes = Uint8Array.from(atob(relief.codes), (letter) => letter.charCodeAt(0));
  const code = (index) => bytes[2 * index] | (bytes[2 * index + 1] << 8);
  const points = new Float32Array(rows * columns * 5);
  const low = [Infinity, Infinity, Infinity];
  const high = [-Infinity, -Infinity, -Infinity];
  for (let index = 0; index < rows * columns; index++) {
    if (!code(index)) continue;
    const u = ((index % columns) + 0.5) / columns;
    const v = (Math.floor(index / columns) + 0.5) / rows;
    const depth = nearest + ((code(index) - 1) / 65534) * (farthest - nearest);
    const scale = (orthographic ? 1 : depth) / focal;
    const point = [(u * size[0] - center[0]) * scale, (center[1] - v * size[1]) * scale, -depth];
    points.set([...point, u, v], 5 * index);
    point.forEach((value, axis) => {
      low[axis] = Math.min(low[axis], value);
      high[axis] = Math.max(high[axis], value);
    });
  }
  const middle = low.map((value, axis) => (value + high[axis]) / 2);
  const half = Math.max(high[0] - low[0], high[1] - low[1], 1e-9) / 2;
  for (let at = 0; at < points.length; at += 5)
    for (let axis = 0; axis < 3; axis++) points[at + axis] = (points[at + axis] - middle[axis]) / half;
  const extent = low.map((value, axis) => (high[axis] - value) / half / 2);
  return { points, triangles: triangulate(points, rows, columns, code), extent };
}

function triangulate(points, rows, columns, code) {
  const kept = [];
  const joined = (a, b) => {
    const across = Math.hypot(points[5 * a] - points[5 * b], points[5 * a + 1] - points[5 * b + 1]);
    return Math.abs(points[5 * a + 2] - points[5 * b + 2]) <= TEAR * across;
  };
  const add = (a, b, c) => {
    if (code(a) && code(b) && code(c) && joined(a, b) && joined(b, c) && joined(c, a)) kept.push(a, b, c);
  };
  for (let row = 0; row + 1 < rows; row++)
    for (let column = 0; column + 1 < columns; column++) {
      const a = row * columns + column;
      add(a, a + columns, a + 1);
      add(a + 1, a + columns, a + columns + 1);
    }
  return new Uint32Array(kept);
}

function reliefView(canvas, codes, albedo, { clay, ambient, relief }) {
  const view = makeView(canvas, RELIEF_VERTEX, RELIEF_FRAGMENT);
  const { gl, program, at } = view;
  const { points, triangles, extent } = sheet(relief);
  bindPictures(view, codes, albedo);
  gl.uniform1f(at("clay"), clay);
  gl.uniform1f(at("ambient"), ambient);
  gl.enable(gl.DEPTH_TEST);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, points, gl.STATIC_DRAW);
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, triangles, gl.STATIC_DRAW);
  [["position", 3, 0], ["place", 2, 12]].forEach(([name, count, offset]) => {
    const location = gl.getAttribLocation(program, name);
    gl.enableVertexAttribArray(location);
    gl.vertexAttribPointer(location, count, gl.FLOAT, false, 20, offset);
  });
  return (state) => {
    prepare(view, state, state.depth);
    const [yaw, pitch] = [state.yaw, state.pitch].map((degrees) => (degrees * Math.PI) / 180);
    const [c, s, k, t] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    // Columns: first about y by the yaw, then about x by the pitch.
    gl.uniformMatrix3fv(at("turn"), false, [c, t * s, -k * s, 0, k, t, s, -t * c, k * c]);
    const [wide, high] = [0, 1].map((axis) => Math.hypot(extent[axis], extent[2] * state.depth));  // however it is turned
    const fit = 0.92 * Math.min(canvas.width / wide, canvas.height / high);
    gl.uniform3f(at("zoom"), fit / canvas.width, fit / canvas.height, -0.5 / Math.hypot(wide, high));
    gl.uniform1f(at("depth"), state.depth);
    gl.drawElements(gl.TRIANGLES, triangles.length, gl.UNSIGNED_INT, 0);
  };
}
