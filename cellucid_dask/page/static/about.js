export function about() {}
