// Writes a `.gz` beside every text file of the build, the same bytes each time.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'fflate';

const root = new URL('../dist', import.meta.url).pathname;
for (const entry of readdirSync(root, { recursive: true }).sort()) {
  const path = join(root, entry);
  if (!statSync(path).isFile() || !/\.(html|js|css|svg)$/.test(path)) continue;
  const raw = readFileSync(path);
  const packed = gzipSync(raw, { level: 9, mtime: new Date('1980-01-01T00:00:00Z') });
  writeFileSync(`${path}.gz`, packed);
  console.log(`${entry.padEnd(24)} ${String(raw.length).padStart(8)} ${String(packed.length).padStart(8)} gzip`);
}
