// The flat view: every pixel of the map, lit.

const LIGHT_VERTEX = `
out vec2 uv;
void main() {
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0;  // one triangle that covers the canvas
  uv = vec2(corner.x, 1.0 - corner.y);
  gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}`;

const LIGHT_FRAGMENT = `${SHADE}
in vec2 uv;
out vec4 colour;
void main() {
  vec4 found = normalAt(uv);
  if (found.w == 0.0) { colour = vec4(0.0); return; }
  colour = vec4(shaded(steeper(found.xyz), uv) * found.w, found.w);
}`;

function lightView(canvas, codes, albedo, { clay, ambient }) {
  const view = makeView(canvas, LIGHT_VERTEX, LIGHT_FRAGMENT);
  const { gl, at } = view;
  bindPictures(view, codes, albedo);
  gl.uniform1f(at("clay"), clay);
  gl.uniform1f(at("ambient"), ambient);
  return (state) => {
    prepare(view, state, state.bump);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  };
}
