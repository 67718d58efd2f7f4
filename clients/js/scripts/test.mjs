// Bundles the tests (Node 20 runs no TypeScript) and runs them with Node's own runner.
import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { PACKAGE } from './sources.mjs';

// Inside node_modules, so that packages are found and nothing is left to ignore.
const out = join(PACKAGE, 'node_modules/.cache/tests');
rmSync(out, { recursive: true, force: true });
const tests = readdirSync(join(PACKAGE, 'tests')).filter((name) => name.endsWith('.test.ts'));
await build({
  absWorkingDir: PACKAGE,
  entryPoints: tests.map((name) => `tests/${name}`),
  outdir: out,
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  packages: 'external',
  sourcemap: 'inline',
  outExtension: { '.js': '.mjs' },
  logLevel: 'warning',
});
const files = tests.map((name) => join(out, name.replace(/\.ts$/, '.mjs')));
const run = spawnSync(
  process.execPath,
  ['--enable-source-maps', '--test', '--test-timeout=20000', '--test-force-exit', ...process.argv.slice(2), ...files],
  { stdio: 'inherit' },
);
process.exitCode = run.status ?? 1;
