// Where a cell lies on the screen: shared by the picture, the labels and the worker. No DOM.

/** A number in [0, 1) that a cell always has: its height in 1D, its turn among cells at one place. The shader of the picture does the same. */
export function dice(cell) {
  let x = Math.imul(cell ^ (cell >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return ((x ^ (x >>> 16)) >>> 8) / 2 ** 24;
}

/** Position in [-1, 1] on the screen, and depth. @param {ArrayLike<number>} m 4 x 4, columns first @returns {[number, number, number]} */
export function project(m, x, y, z) {
  const w = m[3] * x + m[7] * y + m[11] * z + m[15];
  return [
    (m[0] * x + m[4] * y + m[8] * z + m[12]) / w,
    (m[1] * x + m[5] * y + m[9] * z + m[13]) / w,
    (m[2] * x + m[6] * y + m[10] * z + m[14]) / w,
  ];
}

/** The three coordinates of a cell. @returns {[number, number, number]} */
export function place(points, dim, cell) {
  const at = cell * dim;
  if (dim === 1) return [points[at], (dice(cell) - 0.5) * 0.5, 0];
  return [points[at], points[at + 1], dim === 3 ? points[at + 2] : 0];
}
