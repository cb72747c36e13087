// How long until the list of runs is there: node paint.js URL TOKEN ENOUGH.  Prints milliseconds; as
// others may use the machine, too, it looks again until it took less than ENOUGH, or ten times.
'use strict';
const { withPage, check } = require('./browser.js');
const [base, token, enough] = process.argv.slice(2);

(async () => {
  const times = [];
  await withPage({}, base, async (page) => {
    for (let i = 0; i < 10 && !(Math.min(...times) < enough); i++) {
      await page.goto('about:blank').catch(() => {});
      const begun = Date.now();
      await page.goto(base + '#token=' + token);
      await page.waitForSelector('#runs tbody tr');
      await page.evaluate(() => new Promise((done) => requestAnimationFrame(() =>
        requestAnimationFrame(done))));
      times.push(Date.now() - begun);
      check(await page.locator('#runs tbody tr').count() === 50, 'a page of runs');
    }
  }).catch((error) => {
    if (!/^request: about:blank$/.test(error.message)) throw error;
  });
  console.log(Math.min(...times));
})().catch((error) => { console.error(error.message); process.exit(1); });
