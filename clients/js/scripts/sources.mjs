// The digest of everything that the bundle is made from. README.md says how to compute it without Node.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
export const ASSETS = join(PACKAGE, '../../server/assets/demo');
export const OUTPUTS = ['app.js', 'favicon.svg', 'index.html', 'style.css'];
export const DIGEST = 'SOURCES.sha256';

const SINGLE_FILES = ['package-lock.json', 'package.json', 'scripts/build.mjs', 'scripts/sources.mjs', 'tsconfig.json'];

/** Paths from the package's folder, with `/`, in the order of their bytes. */
export function sourceFiles() {
  const below = readdirSync(join(PACKAGE, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(PACKAGE.length).replaceAll('\\', '/'));
  return [...below, ...SINGLE_FILES].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

export function sourceDigest() {
  const hash = createHash('sha256');
  for (const path of sourceFiles()) hash.update(readFileSync(join(PACKAGE, path)));
  return hash.digest('hex');
}
