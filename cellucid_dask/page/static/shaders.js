// What the graphics card does for each cell: from its codes to a place, a size and a color.

export const HEAD = `#version 300 es
precision highp float;
precision highp int;
`;

// The same numbers as geometry.js: dice().
const DICE = `
float dice(uint x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return float((x ^ (x >> 16)) >> 8) / 16777216.0;
}
`;

export const CATEGORY = `
uniform highp sampler2D groups;  // color of each category; alpha 0: hidden
vec4 category(uint code) { return texelFetch(groups, ivec2(code & 255u, code >> 8), 0); }
`;

/** @param {boolean} round not squares, which cost less and, where they are small, look the same */
export const points = (round) => [`${HEAD}
in vec3 position;
in float value;   // code of the column that colors
in uint group;    // code of the field that hides
in float chosen;  // 0: outside the selection
uniform mat4 matrix;
uniform int dim, offset, stride, lit, layer;
uniform bool numbers, named;  // color by value, by value as a code of the ramp, else by group
uniform bool hiding;    // some categories
uniform vec3 faded;
uniform sampler2D ramp;
uniform float size, middle;  // of the map: what is there lies behind others
uniform vec3 range;     // codes at the low and the high end of the map, code of a missing value
flat out vec4 tint;     // a color, or the place in the map and how the cell is shown; and fog
${round ? "flat out float radius;" : ""}
${DICE}${CATEGORY}
void main() {
  gl_Position = vec4(2.0, 2.0, 2.0, 1.0);  // nowhere: until it is clear that the cell is seen
  gl_PointSize = 1.0;
  if (layer == 2 && numbers && !(value > range.x)) return;
  vec4 own = hiding || !numbers ? category(group) : vec4(1.0);
  if (own.a == 0.0) return;

  float random = dice(uint(gl_VertexID * stride + offset));
  float order = random;  // of cells at one place, the highest is seen
  bool behind = false;   // ... but any other before these
  if (numbers) {
    bool gone = value == range.z || !(abs(value) < 3e38);
    float t = clamp((value - range.x) / (range.y - range.x), 0.0, 1.0);
    float telling = abs(t - middle) / (1.0 - middle);
    behind = gone || telling == 0.0;
    order = gone ? random * 0.5 : behind ? 0.5 + random * 0.5 : telling * 0.98 + random * 0.02;
    tint = vec4(t, float(gone), 0.0, 0.0);
  } else {
    uint code = uint(value);
    if (named) own = texelFetch(ramp, ivec2(code & 255u, code >> 8), 0);
    tint = vec4(own.rgb, 0.0);
    behind = own.a < 0.75 && lit < 0;
  }
  bool apart = (lit >= 0 && int(group) != lit) || chosen < 0.5;
  if (apart) {
    tint = numbers ? vec4(0.0, 2.0, 0.0, 0.0) : vec4(faded, 0.0);
    behind = true;
    order = random * 0.4;
  }
  if (layer == 2 && behind) return;

  gl_Position = matrix * vec4(position.x, dim == 1 ? (random - 0.5) * 0.5 : position.y, position.z, 1.0);
  float w = gl_Position.w, depth = 1.0 - order;
  if (dim == 3) {
    depth = clamp(gl_Position.z / w * 0.5 + 0.5, 0.0, 1.0);
    tint.a = 0.55 * smoothstep(0.35, 0.9, depth);
  }
  gl_Position.z = (behind || layer == 1 ? depth : depth - 1.0) * w;
  gl_PointSize = max(size / w, 1.0);
  ${round ? "radius = gl_PointSize;" : ""}
}`, `${HEAD}
flat in vec4 tint;
${round ? "flat in float radius;" : ""}
uniform bool smoothly, numbers;
uniform int layer;
uniform sampler2D ramp;
uniform vec3 missing, faded, background, ground;
out vec4 pixel;
void main() {
  float alpha = 1.0;
  ${round ? `if (radius > 2.5) {
    float edge = (1.0 - length(gl_PointCoord * 2.0 - 1.0)) * radius * 0.5;
    alpha = smoothly ? clamp(edge + 0.5, 0.0, 1.0) : step(0.0, edge);
    if (alpha == 0.0) discard;
  }` : ""}
  vec3 color = tint.rgb;
  if (layer == 1) color = ground;
  else if (numbers) color = tint.y > 1.5 ? faded : tint.y > 0.5 ? missing : texelFetch(ramp, ivec2(int(tint.x * 255.0 + 0.5), 0), 0).rgb;
  pixel = vec4(mix(color, background, tint.a), alpha);
}`];
