// The shading that both views share, in the frame x right, y up, z towards the viewer.

const SHADE = `
precision highp float;
precision highp int;
uniform sampler2D codes;
uniform sampler2D albedo;
uniform vec3 light;
uniform float bump, shininess, clay, ambient, fromPhoto;

// Octahedral coordinates of 12 bits, as embed.py packs them; w is 1 where there is a normal.
vec4 unpack(ivec2 pixel) {
  ivec3 bytes = ivec3(texelFetch(codes, pixel, 0).rgb * 255.0 + 0.5);
  ivec2 code = ivec2(bytes.r << 4 | bytes.b >> 4, bytes.g << 4 | (bytes.b & 15));
  if (code.x == 0) return vec4(0.0);
  vec2 square = vec2(code - 2048) / 2047.0;
  vec3 n = vec3(square, 1.0 - abs(square.x) - abs(square.y));
  if (n.z < 0.0) n.xy = (1.0 - abs(n.yx)) * mix(vec2(1.0), vec2(-1.0), lessThan(n.xy, vec2(0.0)));
  return vec4(normalize(n), 1.0);
}

// Between four pixels; w is how much of the place is surface.
vec4 normalAt(vec2 uv) {
  ivec2 last = textureSize(codes, 0) - 1;
  vec2 at = uv * vec2(last + 1) - 0.5;
  ivec2 corner = ivec2(floor(at));
  vec2 share = at - floor(at);
  vec4 sum = vec4(0.0);
  for (int i = 0; i < 4; i++) {
    ivec2 step = ivec2(i & 1, i >> 1);
    vec2 weight = mix(1.0 - share, share, vec2(step));
    sum += weight.x * weight.y * unpack(clamp(corner + step, ivec2(0), last));
  }
  return sum;
}

// Slopes times the bump. A visible surface slopes by less than a right angle, so z is kept above zero.
vec3 steeper(vec3 n) {
  return normalize(vec3(bump * n.xy, max(n.z, 1e-4)));
}

vec3 display(vec3 linear) {
  vec3 c = clamp(linear, 0.0, 1.0);
  return mix(12.92 * c, 1.055 * pow(c, vec3(1.0 / 2.4)) - 0.055, step(0.0031308, c));
}

// Matte as maquette relights it, albedo (ambient + n . l) / (1 + ambient), and a normalised Blinn-Phong lobe.
vec3 shaded(vec3 n, vec2 uv) {
  float facing = max(dot(n, light), 0.0);
  vec3 base = mix(vec3(clay), texture(albedo, uv).rgb, fromPhoto);
  vec3 colour = base * (ambient + facing) / (1.0 + ambient);
  if (shininess > 0.0) {
    float exponent = exp2(2.0 + 8.0 * shininess);
    float lobe = pow(max(dot(n, normalize(light + vec3(0.0, 0.0, 1.0))), 0.0), exponent);
    colour += 0.06 * smoothstep(0.0, 0.3, shininess) * (exponent + 8.0) / 8.0 * lobe * facing;
  }
  return display(colour);
}
`;

/** A view: its context, its program and where the uniforms are; throws where there is no WebGL 2. */
function makeView(canvas, vertex, fragment) {
  const gl = canvas.getContext("webgl2", { antialias: true, premultipliedAlpha: true });
  if (!gl) throw new Error("this browser has no WebGL 2");
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, `#version 300 es\n${source}`);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  gl.useProgram(program);
  gl.bindVertexArray(gl.createVertexArray());
  const at = (name) => gl.getUniformLocation(program, name);
  return { gl, canvas, program, at };
}

/** Pictures as textures: codes exactly as they are, albedo decoded to linear light. */
function bindPictures({ gl, at }, codes, albedo) {
  gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
  const bind = (unit, name, format, filter, picture) => {
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.texImage2D(gl.TEXTURE_2D, 0, format, gl.RGBA, gl.UNSIGNED_BYTE, picture);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, filter);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    gl.uniform1i(at(name), unit);
  };
  bind(0, "codes", gl.RGBA8, gl.NEAREST, codes);
  bind(1, "albedo", gl.SRGB8_ALPHA8, gl.LINEAR, albedo);
}

/** As many pixels as the screen shows, then a clean canvas and the light's uniforms. */
function prepare({ gl, canvas, at }, state, bump) {
  const density = Math.min(window.devicePixelRatio, 2);
  const width = Math.max(1, Math.round(canvas.clientWidth * density));
  const height = Math.max(1, Math.round(canvas.clientHeight * density));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  gl.viewport(0, 0, width, height);
  gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  const [x, y] = state.light;
  gl.uniform3f(at("light"), x, y, Math.sqrt(Math.max(0, 1 - x * x - y * y)));
  gl.uniform1f(at("bump"), bump);
  gl.uniform1f(at("shininess"), state.shininess);
  gl.uniform1f(at("fromPhoto"), state.surface === "photo" ? 1 : 0);
}
