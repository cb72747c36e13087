// Chromium as the tests use it: one page that notes what it complains of and whom it asks.
//
// It and axe-core come from scripts/setup --browser, which puts them into build/browser.
'use strict';
const fs = require('fs'), os = require('os'), path = require('path');
const modules = path.join(__dirname, '../../build/browser/node_modules');
const { chromium } = require(path.join(modules, 'playwright-core'));

// Runs `work(page, open)`; open(address) loads it.  Fails for an error on the console, and for a
// request to anything but `allowed`, the beginning of addresses.
async function withPage(options, allowed, work) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'nas-browser-'));
  const context = await chromium.launchPersistentContext(folder, {
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium', headless: true,
    viewport: { width: 1100, height: 800 },
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync'],
    ...options,
  });
  const faults = [];
  try {
    const page = await context.newPage();
    page.on('pageerror', (error) => faults.push('error: ' + error));
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) faults.push('console: ' + message.text());
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(allowed)) faults.push('request: ' + request.url());
    });
    await work(page, faults);
  } finally {
    await context.close();
    fs.rmSync(folder, { recursive: true });
  }
  if (faults.length) throw new Error(faults.join('\n'));
}

// What axe finds of the impacts "serious" and "critical", as lines; by these rules of it, or by all.
async function accessibility(page, rules) {
  await page.evaluate(fs.readFileSync(path.join(modules, 'axe-core/axe.min.js'), 'utf8'));
  const found = await page.evaluate((only) => axe.run(document, only ? { runOnly: only } : {}),
    rules);
  return found.violations.filter((v) => ['serious', 'critical'].includes(v.impact))
    .map((v) => v.id + ': ' + v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(' | '));
}

// The rows of the first table whose caption begins so, as objects by column.
function table(page, caption) {
  return page.evaluate((begin) => {
    const found = Array.from(document.querySelectorAll('table'))
      .find((t) => t.caption.textContent.startsWith(begin));
    if (!found) return null;
    const head = Array.from(found.tHead.rows[0].cells, (c) => c.textContent);
    return Array.from(found.tBodies[0].rows, (row) => Object.fromEntries(
      Array.from(row.cells, (c, i) => [head[i], c.textContent])));
  }, caption);
}

function check(truth, text) {
  if (!truth) throw new Error(text);
}

module.exports = { withPage, accessibility, table, check };
