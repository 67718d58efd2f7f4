// Builds the demo page into server/assets/demo, or into the folder given as the argument. The same sources and the
// same package-lock.json give the same bytes.
import { copyFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { ASSETS, DIGEST, OUTPUTS, PACKAGE, sourceDigest } from './sources.mjs';

const BROWSERS = ['chrome123', 'edge123', 'firefox121', 'safari17.5'];

const shared = {
  absWorkingDir: PACKAGE,
  bundle: true,
  minify: true,
  charset: 'utf8',
  legalComments: 'none',
  target: BROWSERS,
  logLevel: 'warning',
  write: false,
  metafile: true,
};

/** Builds into `folder` and returns the size of each file in bytes. */
export async function buildDemo(folder) {
  mkdirSync(folder, { recursive: true });
  const script = await build({
    ...shared,
    entryPoints: ['src/demo/main.tsx'],
    format: 'esm',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    define: { 'process.env.NODE_ENV': '"production"' },
  });
  const style = await build({ ...shared, entryPoints: ['src/demo/style.css'] });
  writeFileSync(join(folder, 'app.js'), script.outputFiles[0].text.trimEnd() + '\n' + licences(script.metafile));
  writeFileSync(join(folder, 'style.css'), style.outputFiles[0].text);
  for (const name of ['index.html', 'favicon.svg']) copyFileSync(join(PACKAGE, 'src/demo', name), join(folder, name));
  writeFileSync(join(folder, DIGEST), sourceDigest() + '\n');
  return Object.fromEntries(OUTPUTS.map((name) => [name, statSync(join(folder, name)).size]));
}

/** The licences of the packages in the bundle, which ask to be kept with every copy. */
function licences(metafile) {
  const names = new Set();
  for (const path of Object.keys(metafile.inputs)) {
    const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path);
    if (found) names.add(found[1]);
  }
  const parts = [...names].sort().map((name) => {
    const folder = join(PACKAGE, 'node_modules', name);
    const file = ['LICENSE', 'LICENSE.md', 'License', 'license'].map((other) => join(folder, other)).find(existsSync);
    if (!file) throw new Error(`${name} has no licence file`);
    const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    return `${name} ${version}\n\n${readFileSync(file, 'utf8').trim().replaceAll('*/', '* /')}`;
  });
  return `/*\nThis file contains:\n\n${parts.join('\n\n----\n\n')}\n*/\n`;
}

if (process.argv[1] && import.meta.url === pathToFileURL(resolve(process.argv[1])).href) {
  const folder = resolve(process.argv[2] ?? ASSETS);
  for (const [name, size] of Object.entries(await buildDemo(folder))) console.log(`${(size / 1024).toFixed(1).padStart(7)} KiB  ${name}`);
}
