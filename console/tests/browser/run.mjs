// Walks through the console in a real browser, against the mock gateway, under the strict content security policy.
// CHROMIUM names the browser; SHOTS a folder for screenshots.
import assert from 'node:assert/strict';
import { start as gateway } from '../../mock/server.mjs';
import { start } from './browser.mjs';

const [PORT, HTTP] = [13101, 13100];
const base = `http://127.0.0.1:${PORT}/`;
await gateway(PORT, HTTP);
const { page, step, go, editor, write, look, end } = await start(base);

await step('first page: time and bytes', async () => {
  let bytes = 0;
  page.on('response', async (response) => (bytes += Number((await response.allHeaders())['content-length'] ?? (await response.body().catch(() => '')).length ?? 0)));
  const began = performance.now();
  await page.goto(base);
  await page.getByRole('link', { name: 'orders' }).waitFor();
  console.log(`      ${Math.round(performance.now() - began)} ms until the list is shown`);
  await look('list');
});
await step('the tutorial: create, edit, deploy, test, add a trigger, open the URL', async () => {
  await page.getByRole('link', { name: 'Create function' }).click();
  await page.getByLabel('Function name').fill('Hello Lambda');
  await page.getByText('No spaces').waitFor();
  await page.getByLabel('Function name').fill('Hello_Lambda_Python');
  await look('create');
  await page.getByRole('button', { name: 'Create function' }).click();
  await editor().getByText('lambda_handler').waitFor();
  await write("import json\n\ndef lambda_handler(event, context):\n    print('key', event.get('key1'))\n    return {'statusCode': 200, 'body': json.dumps('Changed!')}\n");
  const began = performance.now();
  await page.keyboard.press('Control+s');
  for (let answer = ''; !answer.includes('Changed!'); ) answer = await (await fetch(`http://127.0.0.1:${HTTP}/Hello_Lambda_Python`)).text();
  console.log(`      ${Math.round(performance.now() - began)} ms from Deploy to the new answer on the URL`);
  await page.getByText('Deployed.').waitFor();
  await page.getByRole('link', { name: 'Test', exact: true }).first().click();
  await page.locator('.cm-content').getByText('key1').waitFor();
  await page.keyboard.press('Control+Enter');
  await page.getByText('HTTP 200').waitFor();
  await page.getByText('key value1').first().waitFor();
  await look('test');
  await page.getByRole('link', { name: 'Triggers', exact: true }).click();
  await page.locator('a.primary', { hasText: 'Add trigger' }).click();
  await page.getByLabel('Path').fill('/greet');
  await page.waitForTimeout(100);
  await look('trigger-form');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await page.getByText('GET /greet').first().waitFor();
  await look('triggers');
});
await step('a syntax error is marked at its line, and a traceback leads into the editor', async () => {
  await page.getByRole('link', { name: 'Code', exact: true }).click();
  await write('def lambda_handler(event, context)\n    return 1\n');
  await page.locator('.problems').getByText("expected ':'").waitFor();
  await page.locator('.cm-lintRange-error').waitFor();
  await write("def lambda_handler(event, context):\n    return event['missing']\n");
  await page.getByText('No problems').waitFor();
  await page.getByRole('button', { name: 'Deploy', exact: true }).click();
  await page.getByText('Deployed.').first().waitFor();
  await page.getByRole('link', { name: 'Test', exact: true }).first().click();
  await page.getByRole('button', { name: 'Test', exact: false }).first().click();
  await page.getByRole('heading', { name: 'KeyError' }).waitFor();
  await look('test-error');
  await page.locator('pre a').first().click();
  await page.waitForURL(/file=lambda_function\.py&line=2/);
});
await step('several files: create, rename, delete', async () => {
  await go('#/functions/orders');
  await page.getByRole('button', { name: 'money.py' }).click();
  await look('code');
  await page.getByRole('button', { name: '+ New file' }).click();
  await page.getByLabel('Path').fill('helpers/text.py');
  await page.getByRole('button', { name: 'Create', exact: true }).click();
  await page.locator('.tree').getByText('text.py').waitFor();
  await page.getByText('1 not deployed').waitFor();
  await page.getByRole('button', { name: 'Deploy', exact: true }).click();
  await page.getByText('Deployed.').waitFor();
});
await step('changed on disk meanwhile: both are offered, nothing is overwritten', async () => {
  await go('#/functions/hello');
  await editor().getByText('lambda_handler').waitFor();
  await write('# mine\ndef lambda_handler(event, context):\n    return 1\n');
  await fetch(`${base}mock/save`, { method: 'POST', body: JSON.stringify({ function: 'hello', path: 'lambda_function.py', text: "def lambda_handler(event, context):\n    print('<b>hello</b>')\n    return {'from': 'disk'}\n" }) });
  await page.getByRole('dialog').getByText('Changed on disk meanwhile').waitFor();
  await look('conflict');
  await page.getByRole('button', { name: 'Take what is on disk' }).click();
  await editor().getByText("'disk'").waitFor();
});
await step('replay shows the difference of the answers', async () => {
  await fetch(`http://127.0.0.1:${HTTP}/hello?name=Kim`);
  await fetch(`${base}mock/save`, { method: 'POST', body: JSON.stringify({ function: 'hello', path: 'lambda_function.py', text: "def lambda_handler(event, context):\n    print('<b>hello</b>')\n    return {'from': 'today'}\n" }) });
  await go('#/functions/hello/test');
  await page.getByRole('button', { name: /^Show/ }).first().click();
  await page.getByRole('button', { name: 'Run again' }).click();
  await page.getByRole('dialog').locator('.new').getByText('today').waitFor();
  await look('replay');
  await page.keyboard.press('Escape');
});
await step('the log tail is live, and its records are text', async () => {
  await go('#/functions/hello/monitor');
  await page.locator('.uplot').first().waitFor();
  const before = await page.locator('.record').count();
  await fetch(`http://127.0.0.1:${HTTP}/hello`);
  await page.waitForFunction((count) => document.querySelectorAll('.record').length > count, before);
  assert.equal(await page.locator('.record b b').count(), 0);
  await page.getByText('<b>hello</b>').first().waitFor();
  await page.getByRole('button', { name: 'Pause' }).click();
  await fetch(`http://127.0.0.1:${HTTP}/hello`);
  await page.getByRole('button', { name: /Resume \([1-9]/ }).click();
  await page.locator('.record .id').last().click();
  await page.getByText('Following request').waitFor();
  await go('#/functions/orders/monitor');
  await page.locator('.uplot').first().waitFor();
  await look('monitor');
});
await step('configuration: each section', async () => {
  for (const section of ['general', 'environment', 'async', 'access', 'versions', 'package']) {
    await go(`#/functions/orders/configuration/${section}`);
    await page.locator('main form, main dl').first().waitFor();
    if (section === 'versions') {
      for (const version of ['first', 'second']) {
        await page.getByPlaceholder('Description').fill(version);
        await page.getByRole('button', { name: 'Publish version' }).click();
        await page.getByText(version).first().waitFor();
      }
      await page.getByPlaceholder('Name of the alias').fill('live');
      await page.locator('form select').last().selectOption('2');
      await page.getByRole('button', { name: 'Add' }).click();
      await page.getByLabel('live: second version').selectOption('1');
      await page.getByLabel('live: Share of the second version').fill('20');
    }
    await look(`configuration-${section}`);
  }
});
await step('the queue: retry and discard', async () => {
  await go('#/queue');
  await page.getByText("KeyError: 'price'").waitFor();
  await look('queue');
  await page.getByRole('button', { name: 'Retry 1' }).click();
  await page.getByText("KeyError: 'price'").waitFor({ state: 'detached' });
});
await step('the list is live as files change on disk; back button', async () => {
  await go('#/');
  await page.getByRole('link', { name: 'hello', exact: true }).click();
  await page.goBack();
  await page.getByLabel('Search functions').fill('nothing such');
  await page.getByText('No function matches').waitFor();
});
await step('Korean, dark, and a phone', async () => {
  await go('#/');
  await page.getByRole('button', { name: '한국어' }).click();
  await page.getByRole('heading', { name: '함수' }).waitFor();
  await page.getByRole('button', { name: '어두운 화면으로' }).click();
  await look('list-ko-dark');
  for (const [name, hash] of [['code', '#/functions/orders'], ['monitor', '#/functions/orders/monitor'], ['test', '#/functions/hello/test']]) {
    await go(hash);
    await page.locator(name === 'monitor' ? '.uplot' : '.cm-content').first().waitFor();
    await look(`${name}-ko-dark`);
  }
  await page.setViewportSize({ width: 390, height: 844 });
  for (const [name, hash] of [['list', '#/'], ['create', '#/create'], ['code', '#/functions/orders'], ['test', '#/functions/hello/test'], ['triggers', '#/functions/orders/triggers'], ['configuration', '#/functions/orders/configuration'], ['monitor', '#/functions/orders/monitor'], ['queue', '#/queue']]) {
    await go(hash);
    await page.waitForTimeout(500);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(wide <= 0, `${name} is ${wide} pixels too wide for a phone`);
    await look(`phone-${name}`);
  }
});
await end();
