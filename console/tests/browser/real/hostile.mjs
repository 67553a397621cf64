// Pages of other origins on this machine act against the console: another localhost port, a handler's page on the
// port of the routes, and a name that is rebound. API, HTTP are the gateway's addresses, HANDLERS its folder.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { join } from 'node:path';
import { start, until } from '../browser.mjs';

const { API, HTTP, HANDLERS, TRACE_FILE } = process.env;
const api = new URL(API);
// The name leads to this machine: what DNS rebinding ends in.
const browser = await start(`${API}/`, { args: ['--host-resolver-rules=MAP rebound.test 127.0.0.1'] });
const { context, step } = browser;

/** Each attack says what it got; `nothing` is what is hoped for. Runs in the page. */
function attack(api) {
  const victim = `${api}/2015-03-31/functions/victim`;
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const element = (tag, given) => new Promise((done) => {
    const made = Object.assign(document.createElement(tag), given);
    made.onload = () => done('loaded');
    made.onerror = () => done('nothing');
    document.body.append(made);
    setTimeout(() => done('nothing'), 2000);
  });
  const form = async (action, fields) => {
    const frame = Object.assign(document.createElement('iframe'), { name: `frame${Math.random()}` });
    const made = Object.assign(document.createElement('form'), { method: 'post', enctype: 'text/plain', action, target: frame.name });
    for (const [name, value] of fields) made.append(Object.assign(document.createElement('input'), { name, value }));
    document.body.append(frame, made);
    const loaded = new Promise((done) => (frame.onload = done));
    made.submit();
    await Promise.race([loaded, wait(2000)]);
    try {
      return frame.contentDocument?.body?.textContent && frame.contentWindow.location.href !== 'about:blank' ? frame.contentDocument.body.textContent : 'nothing';
    } catch {
      return 'nothing';
    }
  };
  const read = async (path, init) => {
    const answer = await fetch(path.startsWith('http') ? path : api + path, init);
    return answer.type === 'opaque' ? 'nothing' : `status ${answer.status}: ${await answer.text()}`;
  };
  const attacks = {
    'fetch, a simple POST that invokes': () => read(`${victim}/invocations`, { method: 'POST', body: '{}' }),
    'fetch, no-cors': () => read(`${victim}/invocations`, { method: 'POST', mode: 'no-cors', body: '{}' }),
    'fetch with credentials': () => read(`${victim}/invocations`, { method: 'POST', credentials: 'include', body: '{}' }),
    'fetch that needs a preflight': () => read(`${victim}/invocations`, { method: 'POST', body: '{}', headers: { 'x-amz-invocation-type': 'Event' } }),
    'fetch, no-cors, that creates': () => read('/2015-03-31/functions', { method: 'POST', mode: 'no-cors', body: '{"FunctionName": "evil"}' }),
    'PUT of a trigger': () => read('/_handlerd/functions/victim/triggers/Evil', { method: 'PUT', body: '{"Type": "HttpApi", "Properties": {"Path": "/evil", "Method": "get"}}' }),
    'PUT of a test event': () => read('/_handlerd/functions/victim/test-events/evil', { method: 'PUT', body: '{}' }),
    'DELETE of the function': () => read(victim, { method: 'DELETE' }),
    'POST that discards the queue': () => read('/_handlerd/queue/discard', { method: 'POST', mode: 'no-cors', body: '{"function": "victim"}' }),
    'POST that guesses a token': () => read('/_handlerd/session', { method: 'POST', mode: 'no-cors', body: '{"token": "a"}' }),
    'reading the overview': () => read('/_handlerd/overview'),
    'reading the code': () => read('/_handlerd/functions/victim/download'),
    'reading by a redirect to itself': () => read('/_handlerd/overview', { redirect: 'manual' }),
    'beacon': async () => (navigator.sendBeacon(`${victim}/invocations`, '{}'), wait(300).then(() => 'nothing')),
    'form that invokes': () => form(`${victim}/invocations`, [['{"by', '": "form"}']]),
    'form that discards': () => form(`${api}/_handlerd/queue/discard`, [['{"function": "victim", "a', '": ""}']]),
    'iframe of the console': () => form(`${api}/`, []).then(async () => {
      const frame = document.createElement('iframe');
      frame.src = `${api}/`;
      document.body.append(frame);
      await wait(600);
      try {
        return frame.contentDocument?.querySelector('#app') ? 'the console, readable' : 'nothing';
      } catch {
        return 'nothing';
      }
    }),
    'image': () => element('img', { src: `${api}/icon.svg` }),
    'image of a GET that acts': () => element('img', { src: `${victim}/invocations` }),
    'script of a view': () => element('script', { src: `${api}/_handlerd/functions/victim/triggers` }),
    'script of a stored file': () => element('script', { src: `${api}/_handlerd/functions/page/file?path=run.js` }).then((told) => window.stolen ?? told),
    'script of the console': () => element('script', { src: `${api}/assets/index.js`, type: 'module' }),
    'style sheet': () => element('link', { rel: 'stylesheet', href: `${api}/assets/index.css` }),
    'object': () => element('object', { data: `${api}/`, type: 'text/html' }).then((told) => (told === 'loaded' && !document.querySelector('object').contentDocument ? 'nothing' : told)),
    'EventSource': () => new Promise((done) => {
      const source = new EventSource(`${api}/_handlerd/changes`);
      source.onopen = () => done('opened');
      source.onerror = () => (source.close(), done('nothing'));
    }),
    'WebSocket': () => new Promise((done) => {
      const socket = new WebSocket(`${api.replace('http', 'ws')}/_handlerd/changes`);
      socket.onopen = () => done('opened');
      socket.onerror = () => done('nothing');
    }),
    'window.open and its handle': async () => {
      const opened = window.open(`${api}/`, 'console');
      await wait(1500);
      try {
        return opened?.document?.querySelector('#app') ? 'the console, readable' : 'nothing';
      } catch {
        return 'nothing';
      } finally {
        opened?.close();
      }
    },
    'window.open and a message': async () => {
      const opened = window.open(`${api}/`);
      await wait(800);
      opened?.postMessage({ deploy: 'evil' }, '*');
      try {
        if (opened) opened.location = 'javascript:document.title="evil"';
      } catch {
        // Another origin: refused.
      }
      await wait(200);
      opened?.close();
      return 'nothing';
    },
    'worker': async () => (new Worker(`${api}/assets/index.js`), 'a worker'),
    'prefetch': () => element('link', { rel: 'prefetch', href: `${api}/_handlerd/overview` }).then(() => (performance.getEntriesByName(`${api}/_handlerd/overview`).some((one) => one.transferSize > 0 && one.decodedBodySize > 0) ? 'read' : 'nothing')),
  };
  return (async () => {
    const told = {};
    for (const [name, run] of Object.entries(attacks)) {
      try {
        told[name] = await run();
      } catch {
        told[name] = 'nothing';
      }
    }
    return told;
  })();
}

const walkFolder = (folder) => readdirSync(folder).flatMap((name) => {
  const path = join(folder, name);
  if (name === '__pycache__') return [];
  return statSync(path).isDirectory() ? walkFolder(path) : [`${path} ${readFileSync(path)}`];
});
const view = async (path) => JSON.stringify(await (await fetch(API + path)).json());
const state = async () => ({
  files: walkFolder(HANDLERS).sort(),
  functions: JSON.parse(await view('/2015-03-31/functions/')).Functions.map((one) => `${one.FunctionName} ${one.CodeSha256}`),
  triggers: await view('/_handlerd/functions/victim/triggers'),
  queue: JSON.parse(await view('/_handlerd/queue')).events,
});

const document = '<!doctype html><meta charset=utf-8><title>hostile</title><body>';
writeFileSync(`${HANDLERS}/page/run.js`, 'window.stolen = "the file";\n');
writeFileSync(`${HANDLERS}/page/page.html`, document);
await until('the page is deployed', async () => (await (await fetch(`${HTTP}/page`)).text()) === document);
const before = await state();
const elsewhere = createServer((_, response) => response.setHeader('content-type', 'text/html').end(document));
await new Promise((done) => elsewhere.listen(0, '127.0.0.1', done));

const places = {
  'another localhost port': `http://127.0.0.1:${elsewhere.address().port}/`,
  'the same under another name': `http://localhost:${elsewhere.address().port}/`,
  'a handler on the port of the routes': `${HTTP}/page`,
};
for (const [place, url] of Object.entries(places)) {
  await step(`${place}: no attack has an effect`, async () => {
    const page = await context.newPage();
    const dialogs = [];
    page.on('dialog', (dialog) => (dialogs.push(dialog.message()), void dialog.dismiss()));
    await page.goto(url);
    const told = await page.evaluate(attack, API);
    const got = Object.entries(told).filter(([, what]) => what !== 'nothing');
    console.log(`      ${place}: ${Object.keys(told).length} attacks, ${got.length} effects`);
    assert.ok(Object.keys(told).length >= 25);
    assert.deepEqual(got, []);
    assert.deepEqual(dialogs, []);
    assert.deepEqual(await state(), before);
    assert.ok(!existsSync(TRACE_FILE));
    await page.close();
  });
}
await step('a rebound name: the same origin as its attacker, and yet not ours', async () => {
  const page = await context.newPage();
  const there = `http://rebound.test:${api.port}`;
  const answer = await page.goto(`${there}/`);
  assert.ok([403, 421].includes(answer.status()), String(answer.status()));
  const told = await page.evaluate(async (victim) => {
    const asked = { '/_handlerd/overview': {}, '/_handlerd/changes': {}, '/assets/index.js': {}, [victim]: { method: 'POST', body: '{}' } };
    const statuses = [];
    for (const [path, init] of Object.entries(asked)) statuses.push((await fetch(path, init)).status);
    return statuses;
  }, '/2015-03-31/functions/victim/invocations');
  assert.ok(told.every((status) => status === 403 || status === 421), String(told));
  assert.deepEqual(await state(), before);
});
await step('raw requests with names and origins that are not ours', async () => {
  const ask = (headers, path = '/2015-03-31/functions/victim/invocations') =>
    new Promise((done, failed) => request({ host: '127.0.0.1', port: api.port, path, method: 'POST', headers, setHost: false }, (answer) => (answer.resume(), done(answer.statusCode))).on('error', failed).end('{}'));
  const own = api.host;
  for (const headers of [
    { host: 'evil.example' }, { host: `evil.example:${api.port}` }, { host: `localhost.evil.example:${api.port}` }, { host: `127.0.0.1.nip.io:${api.port}` },
    { host: own, origin: 'null' }, { host: own, origin: 'http://evil.example' }, { host: own, origin: HTTP }, { host: own, origin: `https://${own}` },
    { host: own, 'sec-fetch-site': 'cross-site' }, { host: own, 'sec-fetch-site': 'same-site' }, { host: own, origin: `http://${own}.evil.example` },
  ]) {
    const status = await ask(headers);
    assert.ok([403, 421, 400].includes(status), `${JSON.stringify(headers)} ${status}`);
  }
  assert.deepEqual(await state(), before);
  assert.ok(!existsSync(TRACE_FILE));
});
await step('what is allowed leaves a trace: the checks above can fail', async () => {
  await fetch(`${API}/_handlerd/functions/victim/test-events/mine`, { method: 'PUT', body: '{}' });
  assert.notDeepEqual(await state(), before);
});
elsewhere.close();
browser.refused.length = 0;
await browser.end();
