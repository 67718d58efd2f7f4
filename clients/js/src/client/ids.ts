/**
 * Orders two decimal ids as the numbers they are: by length, then by digits. Post ids have 63 bits, more than a
 * JavaScript number holds exactly, and this is faster than `BigInt`. Ids have no leading zeros.
 */
export function compareIds(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}

/** 128 random bits in hex. `crypto.randomUUID` would need a secure context, which plain HTTP in a LAN is not. */
export function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
