// A gateway that asks for credentials: what the console shows without a token, with one that may only read, and with
// one that is revoked meanwhile. API, HTTP: its addresses; READER, EDITOR: tokens; REVOKE: a command.
import assert from 'node:assert/strict';
import { execSync } from 'node:child_process';
import { start, until } from '../browser.mjs';

const { API, HTTP, READER, EDITOR, REVOKE } = process.env;
const { page, context, step, go, editor, write, look, end } = await start(`${API}/`);
const button = (name) => page.getByRole('button', { name, exact: true });
const asked = page.getByRole('heading', { name: 'asks for a token' });
const signIn = async (token) => {
  await page.getByLabel('Token').fill(token);
  await button('Open the console').click();
};

await step('without a token the page says so, and tells nothing', async () => {
  await go('#/functions/hello');
  await asked.waitFor();
  await look('token');
  await signIn('not a token');
  await page.locator('.problem[role=alert]').waitFor();
  assert.equal(await page.getByText('lambda_handler').count(), 0);
});
await step('a token that may read: all is shown and live, nothing can be changed', async () => {
  await signIn(READER);
  await editor().getByText('lambda_handler').waitFor();
  await page.getByText('Live', { exact: true }).waitFor();
  await write('def lambda_handler(event, context):\n    return 1\n');
  await page.keyboard.press('Control+s');
  await page.getByText('AccessDenied').or(page.getByText(/not (allowed|authorized)|lacks|scope/i)).first().waitFor();
  // It stays what it was, and the edit stays too.
  assert.ok((await (await fetch(`${HTTP}/hello`)).text()).includes('hello'));
  await editor().getByText('return 1').waitFor();
  assert.equal(await asked.count(), 0);
});
await step('the token is in no cookie, and is gone with the tab', async () => {
  assert.deepEqual(await context.cookies(), []);
  const other = await context.newPage();
  await other.goto(`${API}/`);
  await other.getByRole('heading', { name: 'asks for a token' }).waitFor();
  await other.close();
});
await step('a token that may deploy: deploys, tests, sees the log, downloads', async () => {
  await page.evaluate(() => sessionStorage.clear());
  await go('#/functions/hello');
  await asked.waitFor();
  await signIn(EDITOR);
  await editor().getByText('lambda_handler').waitFor();
  await write("def lambda_handler(event, context):\n    print('seen')\n    return 'by token'\n");
  await page.keyboard.press('Control+s');
  await until('deployed', async () => (await (await fetch(`${HTTP}/hello`)).text()).includes('by token'));
  await page.getByRole('link', { name: 'Monitor', exact: true }).click();
  await page.locator('.uplot').first().waitFor();
  const before = await page.locator('.record').count();
  await fetch(`${HTTP}/hello`);
  await page.waitForFunction((count) => document.querySelectorAll('.record').length > count, before);
  await page.goto(`${API}/#/functions/hello/configuration/package`);
  const [download] = await Promise.all([page.waitForEvent('download'), button('Download zip').click()]);
  assert.equal(download.suggestedFilename(), 'hello.zip');
});
await step('revoked: it is asked for again, and forgotten', async () => {
  execSync(REVOKE);
  await page.goto(`${API}/#/functions/hello/test`);
  await asked.waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.getItem('handlerd-token')), null);
});
await end();
