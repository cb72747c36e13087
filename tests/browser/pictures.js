// Pictures for the documents: node pictures.js REPORTS NAS STORE FOLDER (scripts/make-pictures).
'use strict';
const path = require('path');
const { spawn } = require('child_process');
const { withPage } = require('./browser.js');
const [reports, nas, store, folder] = process.argv.slice(2);

// A picture of a part of the page, with some room around it.
async function shoot(page, part, name) {
  await part.scrollIntoViewIfNeeded();
  const box = await part.boundingBox();
  const room = 12, left = Math.max(box.x - room, 0), top = Math.max(box.y - room, 0);
  await page.screenshot({ path: path.join(folder, name), fullPage: true, clip: {
    x: left + await page.evaluate(() => scrollX), y: top + await page.evaluate(() => scrollY),
    width: box.width + box.x - left + room, height: box.height + box.y - top + room } });
}

async function pictureReport() {
  const options = { colorScheme: 'light', viewport: { width: 900, height: 1200 } };
  const base = 'file://' + path.resolve(reports) + '/';
  await withPage(options, base, async (page) => {
    await page.goto(base + 'all.html');
    const front = page.locator('.pareto', { hasText: 'Judged as "demo"' });
    await front.locator('svg a:has(circle.selected)').dispatchEvent('click');
    await shoot(page, front, 'report-front.png');
    await shoot(page, page.locator('#run-1 .heat'), 'report-heat.png');
    await page.goto(base + 'two.html');
    await shoot(page, page.locator('#difference'), 'report-difference.png');
  });
}

async function pictureDashboard() {
  const server = spawn(nas, ['serve', '--store', store, '--port', '0', '--json']);
  const open = JSON.parse(await new Promise((done) => server.stdout.once('data', done))).open;
  const options = { colorScheme: 'dark', viewport: { width: 900, height: 640 } };
  await withPage(options, open.split('#')[0], async (page) => {
    await page.goto(open);
    await page.locator('a', { hasText: 'search-1' }).first().click();
    await page.waitForSelector('.heat');
    await page.screenshot({ path: path.join(folder, 'dashboard.png') });
  }).finally(() => server.kill());
}

(async () => {
  await pictureReport();
  await pictureDashboard();
})().catch((error) => { console.error(error.message); process.exit(1); });
