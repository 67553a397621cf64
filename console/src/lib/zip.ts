// A deployment package made in the browser: the deployed one with the edits of the editor.
import { strToU8, unzipSync, zipSync, type AsyncZippable, type Zippable } from 'fflate';

/** A text, or null for a file that was deleted. */
export type Edits = Map<string, string | null>;

// Of 1980, the first day of a zip: the same files give the same bytes.
const MTIME = new Date(1980, 0, 1);
const FILE_MODE = 0o100644 << 16;

/** The external attributes (mode bits) by name, from the central directory. */
export function attributes(zip: Uint8Array): Map<string, number> {
  const view = new DataView(zip.buffer, zip.byteOffset, zip.byteLength);
  const found = new Map<string, number>();
  let end = zip.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) return found;
  let at = view.getUint32(end + 16, true);
  for (let left = view.getUint16(end + 10, true); left > 0 && view.getUint32(at, true) === 0x02014b50; left--) {
    const length = view.getUint16(at + 28, true);
    found.set(new TextDecoder().decode(zip.subarray(at + 46, at + 46 + length)), view.getUint32(at + 38, true));
    at += 46 + length + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
  }
  return found;
}

export function packed(files: Record<string, string>): Uint8Array {
  return apply(undefined, new Map(Object.entries(files)));
}

export function apply(base: Uint8Array | undefined, edits: Edits): Uint8Array {
  const out: Zippable & AsyncZippable = {};
  const modes = base ? attributes(base) : new Map<string, number>();
  const mode = (path: string) => ({ os: 3, attrs: modes.get(path) || FILE_MODE, mtime: MTIME, level: 6 as const });
  if (base) {
    for (const [path, bytes] of Object.entries(unzipSync(base))) {
      if (!path.endsWith('/') && !edits.has(path)) out[path] = [bytes, mode(path)];
    }
  }
  for (const [path, text] of edits) if (text !== null) out[path] = [strToU8(text), mode(path)];
  return zipSync(out);
}
