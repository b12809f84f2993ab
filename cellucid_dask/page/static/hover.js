export function hover() {}
