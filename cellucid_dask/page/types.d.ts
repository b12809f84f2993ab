// Types that the modules of the page share: for the checker and for readers, not part of the page.

type Codes = Uint8Array | Uint16Array | Float32Array;

/**
 * What a cell has: a gene's values, a number or a category. The codes are the file's bytes as they
 * are: value = min + code * (max - min) / top, missing where code === missing; floats are values
 * themselves, with top 0, missing NaN and, in the page, min and max NaN (the worker finds them).
 */
interface Column {
  id: string; // unlike any other column's: "gene/CD3D", "obs/louvain"
  kind: "gene" | "number" | "category";
  key: string;
  label: string;
  codes: Codes;
  min: number;
  max: number;
  top: number; // 254, 65534 or 0
  missing: number; // 255, 65535 or NaN
  categories: string[]; // of a category; else empty
  centroids: Record<string, Centroid[]>; // by dimension
}
interface Centroid { category: string; position: number[]; n_points: number }

/** A field of the cells as the manifest has it. */
interface Field {
  key: string;
  kind: "number" | "category";
  dtype: string;
  categories: string[];
  min: number;
  max: number;
  missing: number;
  centroids: Record<string, Centroid[]>;
}

/** What the picture shows: the detail of View's event "shown". */
interface Shown {
  dim: number; // 0: nothing yet
  group: Column | null; // field of categories that hides and names cells
  hidden: number[]; // its codes that are
  counts: Uint32Array | null; // cells of each category; the last: cells without one
  color: Column | null; // numbers that color; null: the categories do
  summary: Summary | null; // of `color`
  range: number[]; // values at the ends of the color map
}
/** The worker's "summary": bins are of the cells that are not hidden, clip is found among all. */
interface Summary { min: number; max: number; bins: Uint32Array; missing: number; gaps: boolean; clip: number[]; few: Few | null }
/** The only cells above a code. */
interface Few { code: number; cells: Uint32Array }

/** A part of the canvas, in parts of its size from the upper left corner. */
interface Box { x: number; y: number; w: number; h: number }
/** Codes on the graphics card. */
interface Uploaded { buffer: WebGLBuffer; bytes: number; type: number }
interface Panel { of: Column | null; column: Uploaded | null; named: boolean; range: number[]; ramp: WebGLTexture; middle: number; ground: number[] | null; few: (Uploaded & { of: Few }) | null }

/** The worker's "measure", of a category or of the cells inside or outside a selection. */
interface Measured { min: number; max: number; groups: Group[] }
interface Group {
  cells: number;
  n: number; // cells with a value
  above: number; // ... above 0
  mean: number;
  quartiles?: number[]; // these three only when asked for the whole
  whiskers?: number[];
  bins?: Uint32Array; // 255 from min to max
}

/** The categories that an analysis compares. */
interface Compared {
  by: Column | null;
  names: string[]; // of the categories, and last "(none)"
  rows: number[]; // those that are not hidden
  cells: { group: Column | null; hidden: number[] }; // for the worker: which cells
  measure(column: Column, whole?: boolean): Promise<Measured>;
}

/** What every control of the page is given. */
interface App {
  data: import("./static/export.js").Export;
  state: import("./static/state.js").State;
  view: import("./static/view.js").View;
  picture: import("./static/picture.js").Picture;
  camera: import("./static/camera.js").Camera;
  stats: import("./static/stats.js").Stats;
  say(sentence: string): void; // to the reader, for a while
  fail(error: unknown): void;
  moved(): void; // the camera was: draw, and write the address when it rests
  /** Drawn over the cells, once for each panel, in the canvas's pixels (`ratio` a page's pixel). */
  layers: ((ctx: CanvasRenderingContext2D, width: number, height: number, ratio: number, panel: number) => void)[];
  relabel(): void; // draws the layers anew
  selecting: string; // what a shape does to the selection: "new", "add" or "cut"
  /** Has the pointer instead of the camera, while there is one. */
  tool: null | { down(event: PointerEvent): void; move(event: PointerEvent): void; up(event: PointerEvent): void };
}
