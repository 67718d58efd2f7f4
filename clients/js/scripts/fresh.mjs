// Fails when the committed bundle is not what the sources give.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildDemo } from './build.mjs';
import { ASSETS, DIGEST, OUTPUTS } from './sources.mjs';

const folder = mkdtempSync(join(tmpdir(), 'fama-demo-'));
try {
  await buildDemo(folder);
  const stale = [...OUTPUTS, DIGEST].filter((name) => {
    const committed = join(ASSETS, name);
    return !existsSync(committed) || !readFileSync(committed).equals(readFileSync(join(folder, name)));
  });
  if (stale.length > 0) {
    console.error(`server/assets/demo is stale: ${stale.join(', ')}. Run "npm ci && npm run build" in clients/js and commit the result.`);
    process.exitCode = 1;
  } else {
    console.log('server/assets/demo is what the sources give.');
  }
} finally {
  rmSync(folder, { recursive: true });
}
