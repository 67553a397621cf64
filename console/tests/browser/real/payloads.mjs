// Names, descriptions, variables, events, results, errors and log lines that try to be markup or scripts: each is
// shown as text. API, HTTP are the gateway's addresses, HANDLERS its folder.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { start, until } from '../browser.mjs';

const { API, HTTP, HANDLERS } = process.env;
const { page, step, go, look, refused, end } = await start(`${API}/`);

const run = 'window.executed=1;alert(1)';
const payloads = [
  `<script>${run}</script>`, `</script><script>${run}</script>`, `<img src=x onerror="${run}">`, `"><img src=x onerror=${run}>`,
  `'><svg onload=${run}>`, `<svg><script>${run}</script></svg>`, `<svg><animate onbegin=${run} attributeName=x dur=1s>`,
  `<iframe src="javascript:parent.${run}"></iframe>`, `<iframe srcdoc="<script>parent.${run}</script>"></iframe>`,
  `<object data="javascript:${run}">`, `<embed src="javascript:${run}">`, `<a href="javascript:${run}">click</a>`,
  `javascript:${run}`, `data:text/html,<script>${run}</script>`, `<body onload=${run}>`, `<input autofocus onfocus=${run}>`,
  `<details open ontoggle=${run}>`, `<video><source onerror=${run}></video>`, `<audio src=x onerror=${run}>`,
  `<math><mtext></form><form><mglyph><style></math><img src onerror=${run}>`, `<style>*{background:url(//evil.example)}</style>`,
  `<link rel=stylesheet href=//evil.example/x.css>`, `<meta http-equiv=refresh content="0;url=javascript:${run}">`,
  `<base href=//evil.example/>`, `<template><img src=x onerror=${run}></template>`, `{{constructor.constructor('${run}')()}}`,
  `\${${run}}`, `{@html "<img src=x onerror=${run}>"}`, `<!--><img src=x onerror=${run}>-->`, `<noscript><p title="</noscript><img src=x onerror=${run}>">`,
  `\u001b]8;;javascript:${run}\u0007link\u001b]8;;\u0007`, `\u202e<img src=x onerror=${run}>`, `<form action="javascript:${run}"><button>send</button></form>`,
];
const joined = payloads.join('\n');
const quoted = JSON.stringify(payloads);

const call = async (method, path, body) => {
  const answer = await fetch(API + path, { method, body: body === undefined ? undefined : JSON.stringify(body) });
  return { status: answer.status, text: await answer.text() };
};
const must = async (...asked) => {
  const told = await call(...asked);
  assert.ok(told.status < 300, `${asked[0]} ${asked[1]} ${told.status} ${told.text}`);
};

await step(`a function full of ${payloads.length} payloads`, async () => {
  const at = `${HANDLERS}/attacked`;
  mkdirSync(at, { recursive: true });
  writeFileSync(`${at}/lambda_function.py`, `import json, logging
PAYLOADS = json.loads(${JSON.stringify(quoted)})
logging.getLogger().setLevel('INFO')

def lambda_handler(event, context):
    for payload in PAYLOADS:
        print(payload)
        logging.error(payload)
    if (event or {}).get('fail'):
        raise type(PAYLOADS[2], (Exception,), {})(''.join(PAYLOADS))
    return {'statusCode': 200, 'headers': {'content-type': 'text/plain'}, 'body': json.dumps(PAYLOADS), 'all': PAYLOADS}
`);
  // What a file system allows as a name.
  for (const [at, payload] of payloads.entries()) writeFileSync(`${HANDLERS}/attacked/${at} ${payload.replaceAll('/', '∕').replaceAll('\u001b', '').replaceAll('\u0007', '')}.txt`.slice(0, 220), payload);
  await until('deployed', async () => (await fetch(`${HTTP}/attacked`)).status === 200);
  await must('PUT', '/2015-03-31/functions/attacked/configuration', {
    Description: payloads[2] + payloads[0],
    Environment: { Variables: Object.fromEntries(payloads.map((payload, at) => [`VALUE_${at}`, payload])) },
  });
  await until('settled', async () => !(await call('GET', '/2015-03-31/functions/attacked/configuration')).text.includes('InProgress'));
  // What the API refuses, it refuses; what it takes is shown.
  const arn = JSON.parse((await call('GET', '/2015-03-31/functions/attacked/configuration')).text).FunctionArn;
  for (const [at, payload] of payloads.entries()) {
    await call('POST', `/2017-03-31/tags/${encodeURIComponent(arn)}`, { Tags: { [`tag${at}`]: payload } });
    await call('PUT', `/_handlerd/functions/attacked/test-events/event${at}`, { payload });
    await call('PUT', `/_handlerd/functions/attacked/triggers/Schedule${at}`, { Type: 'Schedule', Properties: { Schedule: 'rate(5 minutes)', Name: payload, Description: payload } });
    await call('PUT', `/_handlerd/functions/attacked/triggers/${encodeURIComponent(payload)}`, { Type: 'Schedule', Properties: { Schedule: 'rate(5 minutes)' } });
    await call('PUT', `/_handlerd/functions/attacked/triggers/Http${at}`, { Type: 'HttpApi', Properties: { Path: `/${payload}`, Method: 'get' } });
    await call('POST', '/2015-03-31/functions/attacked/policy', { StatementId: `s${at}`, Action: 'lambda:InvokeFunction', Principal: payload });
    await call('PUT', '/2019-09-25/functions/attacked/event-invoke-config', { DestinationConfig: { OnFailure: { Destination: payload } } });
  }
  await call('POST', '/2015-03-31/functions/attacked/versions', { Description: payloads[2] });
  await call('POST', '/2015-03-31/functions/attacked/aliases', { Name: 'live', FunctionVersion: '1', Description: payloads[2] });
  await call('PUT', '/2019-09-25/functions/attacked/event-invoke-config', { MaximumRetryAttempts: 0 });
  await fetch(`${API}/2015-03-31/functions/attacked/invocations`, { method: 'POST', body: '{"fail": 1}', headers: { 'x-amz-invocation-type': 'Event' } });
  await fetch(`${API}/2015-03-31/functions/attacked/invocations`, { method: 'POST', body: '{"fail": 1}' });
  // The reason of a function that cannot be deployed.
  mkdirSync(`${HANDLERS}/broken`, { recursive: true });
  writeFileSync(`${HANDLERS}/broken/lambda_function.py`, `raise ${'ValueError'}(${JSON.stringify(payloads[2])})\n`);
  writeFileSync(`${HANDLERS}/broken/function.yaml`, `Timeout: '${payloads[2].replaceAll("'", '')}'\nEvents:\n  '${payloads[2].replaceAll("'", '')}': {Type: HttpApi}\n`);
});

/** Nothing of a payload has become an element, and nothing has run. */
async function harmless(what) {
  const found = await page.evaluate(() => ({
    executed: window.executed ?? 0,
    elements: [...document.querySelectorAll('main :is(script, iframe, object, embed, video, audio, math, base, meta, link, noscript, form[action], [onerror], [onload], [onfocus], [ontoggle]), main img')].map((one) => one.outerHTML.slice(0, 120)),
    links: [...document.querySelectorAll('a[href]')].map((one) => one.href).filter((href) => !/^https?:/.test(href)),
  }));
  assert.deepEqual(found, { executed: 0, elements: [], links: [] }, what);
  assert.deepEqual(refused, [], what);
}

await step('each page shows them as text', async () => {
  const hashes = ['#/', '#/create', '#/queue', '#/functions/broken', ...['', '/test', '/triggers', '/monitor', ...['general', 'environment', 'async', 'access', 'versions', 'package'].map((section) => `/configuration/${section}`)].map((tail) => `#/functions/attacked${tail}`)];
  for (const hash of hashes) {
    await go(hash);
    await page.locator('main .card, main .failure').first().waitFor();
    await page.waitForLoadState('load');
    await look(`payloads-${hash.split('/').slice(3).join('-') || hash.split('/').at(-1)}`);
    await harmless(hash);
  }
});
await step('the result, the log, the traceback and the queue show them as text', async () => {
  await go('#/functions/attacked/test');
  await page.locator('.cm-content').first().waitFor();
  for (const event of ['{}', '{"fail": 1}', `{"fail": 1, "all": ${quoted}}`]) {
    await page.locator('.cm-content').first().click();
    await page.keyboard.press('Control+A');
    await page.keyboard.press('Backspace');
    await page.keyboard.insertText(event);
    await page.keyboard.press('Control+Enter');
    await page.locator('.badge', { hasText: event === '{}' ? 'Succeeded' : 'Failed' }).first().waitFor();
    await page.getByText('<iframe src="javascript:').first().waitFor();
    await harmless(event.slice(0, 20));
  }
  await go('#/queue');
  await page.getByRole('button', { name: /^Show/ }).first().click();
  await page.getByRole('dialog').waitFor();
  await harmless('the queue');
});
await step('addresses that try it', async () => {
  for (const hash of [`#/functions/${encodeURIComponent(payloads[2])}`, `#/?search=${encodeURIComponent(payloads[2])}`, `#/functions/attacked/code?file=${encodeURIComponent(payloads[2])}&line=1`, `#/functions/attacked/monitor?request_id=${encodeURIComponent(payloads[2])}`, `#/javascript:${run}`, '#/functions/__proto__', '#/functions/constructor/test']) {
    await go(hash);
    await page.locator('main h1').first().waitFor();
    await harmless(hash);
  }
});
await end();
