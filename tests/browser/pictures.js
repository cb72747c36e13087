// Pictures for the documents: node pictures.js REPORT.html FOLDER.
'use strict';
const path = require('path');
const { withPage } = require('./browser.js');
const [report, folder] = process.argv.slice(2);
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

withPage({ colorScheme: 'light', viewport: { width: 900, height: 1200 } }, address, async (page) => {
  await page.goto(address);
  await page.locator('.pareto svg a:has(circle.selected)').first().click();
  await shoot(page, '.pareto', 'report-front.png');
  await shoot(page, '.heat', 'report-heat.png');
  await shoot(page, '#difference', 'report-difference.png');
  await shoot(page, '.panels', 'report-curves.png');
}).catch((error) => { console.error(error.message); process.exit(1); });
