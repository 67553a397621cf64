// What every browser test shares: Chromium, steps with their times, the editor, screenshots, axe.
// CHROMIUM names the browser; SHOTS a folder for screenshots.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

export const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
const LIMIT_MS = 280_000;
const shots = process.env.SHOTS;
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export async function start(base, { args = [], locale = 'en-US' } = {}) {
  if (!existsSync(executablePath)) {
    console.log('skipped: there is no Chromium here (Debian: apt install chromium)');
    process.exit(process.env.CI ? 1 : 0);
  }
  if (shots) mkdirSync(shots, { recursive: true });
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage', '--no-proxy-server', ...args] });
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, locale, acceptDownloads: true });
  const page = await context.newPage();
  page.setDefaultTimeout(Number(process.env.PATIENCE_MS ?? 10_000));
  /** What the policy refused and what was thrown: a console that works says nothing. */
  const refused = [];
  const findings = [];
  let failures = 0;
  page.on('console', (message) => {
    const at = message.location();
    if (/Content Security Policy/.test(message.text())) refused.push(`${message.text().slice(0, 160)} at ${at.url}:${at.lineNumber} on ${page.url()}`);
  });
  page.on('pageerror', (error) => refused.push(String(error.stack ?? error)));
  page.on('dialog', (dialog) => {
    // A page with edits may ask whether to leave it; nothing else may ask anything.
    if (dialog.type() !== 'beforeunload') refused.push(`a dialog: ${dialog.message()}`);
    void dialog.accept();
  });

  // Nothing waits for ever.
  setTimeout(() => (console.log(`FAILED: not done after ${LIMIT_MS} ms`), process.exit(1)), LIMIT_MS).unref();
  const self = {
    browser, context, page, refused, findings,
    async step(name, run) {
      const began = performance.now();
      try {
        await run();
        console.log(`ok    ${name} (${Math.round(performance.now() - began)} ms)`);
      } catch (error) {
        failures++;
        console.log(`FAILED ${name}\n${error.stack}`);
        console.log(`      at ${page.url()}\n${refused.join('\n')}`);
        if (shots) await page.screenshot({ path: `${shots}/failed-${failures}.png` });
        // The steps build on each other.
        await browser.close();
        process.exit(1);
      }
    },
    async go(hash) {
      await page.goto('about:blank');
      await page.goto(base + hash);
    },
    editor: () => page.locator('.cm-content').first(),
    async write(text) {
      await self.editor().click();
      await page.keyboard.press('Control+A');
      // Chromium itself makes a styled span, which the policy refuses without harm, when all text is typed over.
      await page.keyboard.press('Backspace');
      await page.keyboard.insertText(text);
    },
    /** A screenshot, and what axe finds. */
    async look(name) {
      // Fonts, charts and the editor's layout come to rest within two frames.
      await page.evaluate(() => document.fonts.ready.then(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))));
      if (shots) await page.screenshot({ path: `${shots}/${name}.png`, fullPage: true });
      // The page's policy holds for axe too: it is evaluated by the debugger, not by a script element.
      await page.evaluate(axe);
      const result = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
      for (const one of result.violations) findings.push({ page: name, id: one.id, impact: one.impact, nodes: one.nodes.map((node) => node.target.join(' ')).slice(0, 4) });
    },
    async end() {
      await self.step('the policy refused nothing, nothing was thrown, nothing was asked', async () => {
        if (refused.length > 0) throw new Error(refused.join('\n'));
      });
      await self.step('axe: no serious findings', async () => {
        for (const one of findings) console.log(`      ${one.page}: ${one.impact} ${one.id} ${one.nodes.join(' | ')}`);
        const serious = findings.filter((one) => one.impact === 'serious' || one.impact === 'critical');
        if (serious.length > 0) throw new Error(`${serious.length} serious findings`);
      });
      await browser.close();
      process.exit(failures > 0 ? 1 : 0);
    },
  };
  return self;
}

/** Asks again until the answer is as wanted: for what becomes true a little later. */
export async function until(what, ask, patience_ms = 15_000) {
  const began = performance.now();
  for (;;) {
    const told = await ask();
    if (told) return told;
    if (performance.now() - began > patience_ms) throw new Error(`never true: ${what}`);
    await new Promise((done) => setTimeout(done, 4));
  }
}
