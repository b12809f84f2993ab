export function overlays() {}
