// The dashboard in a real browser: node serve.js URL TOKEN FILE PID.  The test beside us waits for
// FILE to appear and then adds a run named "later"; at the end we stop the server, process PID.
'use strict';
const fs = require('fs');
const { withPage, accessibility, table, check } = require('./browser.js');

const [base, token, signal, pid] = process.argv.slice(2);

async function waitForStatus(page, pattern) {
  await page.waitForFunction((source) => new RegExp(source).test(
    document.getElementById('status').textContent), pattern, { timeout: 30000 });
}

// Errors of the network, which are meant to happen here, are noted by the console.
async function withFailures(work) {
  await work().catch((error) => {
    const rest = error.message.split('\n').filter((line) => !/console: Failed to load/.test(line));
    if (rest.length) throw new Error(rest.join('\n'));
  });
}

async function strangers() {
  await withFailures(() => withPage({}, base, async (page) => {
    await page.goto(base);
    await waitForStatus(page, '^the token is missing or wrong');
    check(!(await page.textContent('body')).includes('search-1'), 'data without a token');
    const found = await accessibility(page);
    check(found.length === 0, found.join('\n'));
  }));
}

async function live(page) {
  await page.goto(base + '#token=' + token);
  await waitForStatus(page, '^live$');
  check(!page.url().includes(token), 'the token stays in the address');
  check((await table(page, 'Newest first')).length === 2, 'both runs');
  await page.reload();
  await waitForStatus(page, '^live$');
  const found = await accessibility(page);
  check(found.length === 0, found.join('\n'));

  await page.locator('details summary').first().click();
  fs.writeFileSync(signal, '');
  await page.waitForFunction(() => Array.from(document.querySelectorAll('#runs th a'))
    .some((a) => a.textContent === 'later'), null, { timeout: 30000 });
  check(await page.locator('details').first().evaluate((d) => d.open), 'what was open stays so');
}

async function wander(page) {
  await page.locator('a', { hasText: 'search-1' }).first().click();
  await page.waitForSelector('.heat .cell');
  await page.locator('.slider input').evaluate((input) => {
    input.value = 0;
    input.dispatchEvent(new Event('input'));
  });
  const found = await accessibility(page);
  check(found.length === 0, found.join('\n'));
  await page.selectOption('#compare', { label: 'search-2' });
  await page.waitForSelector('#difference');
  check(await table(page, 'Block by block') !== null, 'a table of the difference');
  await page.goBack();
  await page.waitForSelector('.heat .cell');
}

(async () => {
  await strangers();
  await withFailures(() => withPage({}, base, async (page) => {
    await live(page);
    await wander(page);
    process.kill(Number(pid), 'SIGTERM');
    await waitForStatus(page, '^stale since .*(ended|does not answer)');
    check((await page.textContent('main')).includes('search-1'), 'what was shown stays');
  }));
})().catch((error) => { console.error(error.message); process.exit(1); });
