// Pictures for the documents: node pictures.js REPORT.html NAS STORE FOLDER.
'use strict';
const path = require('path');
const { spawn } = require('child_process');
const { withPage } = require('./browser.js');
const [report, nas, store, folder] = process.argv.slice(2);
const address = 'file://' + path.resolve(report);

// A picture of what `selector` finds, with some room around it.
async function shoot(page, selector, name) {
  const part = page.locator(selector).first();
  await part.scrollIntoViewIfNeeded();
  const box = await part.boundingBox();
  const room = 12, left = Math.max(box.x - room, 0), top = Math.max(box.y - room, 0);
  await page.screenshot({ path: path.join(folder, name), fullPage: true, clip: {
    x: left + await page.evaluate(() => scrollX), y: top + await page.evaluate(() => scrollY),
    width: box.width + box.x - left + room, height: box.height + box.y - top + room } });
}

async function pictureReport() {
  const options = { colorScheme: 'light', viewport: { width: 900, height: 1200 } };
  await withPage(options, address, async (page) => {
    await page.goto(address);
    await page.locator('.pareto svg a:has(circle.selected)').first().click();
    await page.evaluate(() => document.activeElement.blur());
    await page.mouse.move(0, 0);
    await shoot(page, '.pareto', 'report-front.png');
    await shoot(page, '#run-1 .heat', 'report-heat.png');
    await shoot(page, '#difference', 'report-difference.png');
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
