// The logic of the console that needs no page: zips, differences, times, addresses, tracebacks, reports.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import test from 'node:test';
import { strFromU8, strToU8, unzipSync, zipSync } from 'fflate';
import { en } from '../../src/i18n/en.ts';
import { ko } from '../../src/i18n/ko.ts';
import { diff } from '../../src/lib/diff.ts';
import { report } from '../../src/lib/report.ts';
import { functionHref, parse } from '../../src/lib/router.ts';
import { duration, relative } from '../../src/lib/time.ts';
import { Events } from '../../src/lib/stream.ts';
import { frame } from '../../src/lib/traceback.ts';
import { apply, attributes, packed } from '../../src/lib/zip.ts';

test('a zip keeps what was not edited, with its mode', () => {
  const base = zipSync({ 'run.sh': [strToU8('#!'), { os: 3, attrs: 0o100755 << 16 }], 'a.py': strToU8('1'), 'b.py': strToU8('2') });
  const made = apply(base, new Map([['a.py', '3'], ['b.py', null], ['c/d.py', '한글']]));
  const files = unzipSync(made);
  assert.deepEqual(Object.keys(files).sort(), ['a.py', 'c/d.py', 'run.sh']);
  assert.equal(strFromU8(files['c/d.py']!), '한글');
  assert.equal(attributes(made).get('run.sh')! >>> 16, 0o100755);
  assert.deepEqual(packed({ a: '1' }), packed({ a: '1' }));
});
test('a difference by lines', () => {
  const kinds = (a: string, b: string) => diff(a, b).map((line) => `${line.kind} ${line.text}`);
  assert.deepEqual(kinds('a\nb\nc', 'a\nx\nc'), ['same a', 'gone b', 'new x', 'same c']);
  assert.deepEqual(kinds('a', 'a'), ['same a']);
  assert.deepEqual(kinds('a\na', 'a'), ['same a', 'gone a']);
});
test('times for people', () => {
  assert.equal(relative(0, 120_000, 'en'), '2 minutes ago');
  assert.equal(relative(0, 120_000, 'ko'), '2분 전');
  assert.equal(relative(3000, 0, 'en'), 'now');
  assert.deepEqual([duration(null), duration(1.25), duration(250), duration(12_000)], ['–', '1.3 ms', '250 ms', '12.0 s']);
});
test('an address and back', () => {
  const address = functionHref('a-b', 'code', { file: 'x y/ä.py', line: 3 });
  assert.deepEqual(parse(address), { parts: ['functions', 'a-b', 'code'], query: { file: 'x y/ä.py', line: '3' } });
  assert.deepEqual(parse('#/%E0%A4%A'), { parts: ['%E0%A4%A'], query: {} });
});
test('a frame of a traceback leads to the file it names', () => {
  const paths = ['money.py', 'helpers/money.py'];
  assert.deepEqual(frame('  File "/srv/f/helpers/money.py", line 7, in cents', paths).path, 'helpers/money.py');
  assert.equal(frame('  File "/usr/lib/json/__init__.py", line 7, in loads', paths).path, undefined);
});
test('the numbers of a REPORT line', () => {
  assert.deepEqual(report('REPORT RequestId: 1\tDuration: 1.50 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 31 MB\tInit Duration: 9.1 ms'), { duration_ms: 1.5, billed_ms: 2, memory_mb: 128, max_memory_mb: 31, init_ms: 9.1 });
});
test('an event stream, however it is cut', () => {
  const text = ': hello\n\nevent: record\ndata: {"text": "a: b"}\n\nevent: hello\ndata\n\ndata: one\r\ndata: two\r\n\r\nevent: half';
  for (let size = 1; size < text.length; size++) {
    const found: string[] = [];
    const events = new Events((name, data) => found.push(`${name} ${data}`));
    for (let at = 0; at < text.length; at += size) events.push(text.slice(at, at + size));
    assert.deepEqual(found, ['record {"text": "a: b"}', 'hello ', 'message one\ntwo'], String(size));
  }
});
test('every text is used, and none is ever put in as HTML', () => {
  // Keys that are put together name their beginnings: `kind.${kind}`.
  const told = new Set<string>();
  const begun = new Set<string>();
  for (const path of readdirSync('src', { recursive: true, encoding: 'utf8' })) {
    if (!/\.(ts|svelte)$/.test(path) || path.startsWith('i18n')) continue;
    const source = readFileSync(`src/${path}`, 'utf8');
    // What comes from outside is only ever put in as text.
    assert.doesNotMatch(source, /@html|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function/, path);
    for (const [, key] of source.matchAll(/['"`]([a-z]+\.[a-z0-9_]+|[a-z]+)['"`]/g)) told.add(key!);
    for (const [, start] of source.matchAll(/`([a-z]+\.)\$\{/g)) begun.add(start!);
  }
  for (const key of Object.keys(en)) assert.ok(told.has(key) || [...begun].some((start) => key.startsWith(start)), `${key} is not used`);
});
test('both languages have the same values in each text', () => {
  const values = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((found) => found[1]).sort();
  assert.deepEqual(Object.keys(ko), Object.keys(en));
  for (const [key, text] of Object.entries(en)) assert.deepEqual(values(ko[key as keyof typeof en]), values(text), key);
});
