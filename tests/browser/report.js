// A report in a real browser: node report.js REPORT.html EXPORT.jsonl, the store's content as
// nas runs export --format jsonl tells it.  Exits with 1 and says what is wrong.
'use strict';
const fs = require('fs'), path = require('path');
const { withPage, accessibility, table, check } = require('./browser.js');

const address = 'file://' + path.resolve(process.argv[2]);
const rows = fs.readFileSync(process.argv[3], 'utf8').trim().split('\n').map((l) => JSON.parse(l));
const of = (name) => rows.filter((row) => row.table === name);
// As the page writes numbers: significant digits, and an en dash for what is not known.
const shown = (value, digits) => value === null ? '–' : String(Number(value.toPrecision(digits)));
// Halfway between two numbers of so many digits either is right.
const same = (cell, value, digits) => cell === shown(value, digits) || (value !== null &&
  Math.abs(Number(cell) - value) <=
    0.5000001 * 10 ** (Math.floor(Math.log10(Math.abs(value))) + 1 - digits));

async function paretoTables(page) {
  const sources = new Set(of('evaluation').map((row) => row.source));
  for (const source of sources) {
    const names = Object.fromEntries(of('run').map((run) => [run.id, run.name]));
    const expected = of('evaluation').filter((row) => row.source === source)
      .sort((a, b) => a.latency_ms - b.latency_ms || b.top1 - a.top1);
    const found = await table(page, 'Networks judged as "' + source + '"');
    check(found && found.length === expected.length, source + ': not all networks are shown');
    expected.forEach((row, i) => check(
      same(found[i]['Latency ms'], row.latency_ms, 5) && same(found[i]['Top-1'], row.top1, 4) &&
      (found[i].Run === names[row.run] || row.latency_ms === expected[i + 1]?.latency_ms ||
       row.latency_ms === expected[i - 1]?.latency_ms),
      source + ' ' + i + ': ' + JSON.stringify([found[i], row])));
    expected.forEach((row, i) => {
      const front = expected.slice(0, i).every((other) => other.top1 < row.top1 ||
        (other.top1 === row.top1 && other.latency_ms === row.latency_ms));
      check((found[i].Front === 'yes') === front, source + ' ' + i + ': on the front or not?');
    });
  }
}

async function curveTables(page, run) {
  const expected = of('metric').filter((row) => row.run === run.id && /loss/.test(row.name));
  const tables = await page.evaluate((id) => Array.from(
    document.querySelectorAll('#run-' + id + ' table')).filter((t) =>
    t.caption.textContent === 'Loss').map((t) => [
    Array.from(t.tHead.rows[0].cells, (c) => c.textContent),
    ...Array.from(t.tBodies[0].rows, (r) => Array.from(r.cells, (c) => c.textContent))]), run.id);
  check(tables.length === 1, 'one table of losses');
  const head = tables[0][0];
  for (const row of expected) {
    const line = tables[0].find((cells) => cells[1] === String(row.step));
    check(line && same(line[head.indexOf(row.name)], row.value, 5), JSON.stringify([line, row]));
  }
}

// Slides to the first epoch: every cell must tell that epoch's probability.
async function heatMap(page, run) {
  const all = of('probability').filter((row) => row.run === run.id);
  const epochs = [...new Set(all.map((row) => row.epoch))];
  for (const at of [0, epochs.length - 1]) {
    await page.locator('#slider-' + run.id).evaluate((input, value) => {
      input.value = value;
      input.dispatchEvent(new Event('input'));
    }, at);
    const cells = await page.evaluate((id) => Array.from(
      document.querySelectorAll('#run-' + id + ' .heat .cell'), (cell) =>
        [cell.querySelector('title').textContent, Number(cell.getAttribute('fill-opacity'))]),
    run.id);
    const expected = all.filter((row) => row.epoch === epochs[at] &&
      all.some((other) => other.slot === row.slot && other.candidate > 0));
    check(cells.length === expected.length, 'a cell a probability');
    expected.forEach((row, i) => check(
      cells[i][0].startsWith('block ' + row.slot + ',') && Math.abs(cells[i][1] - row.p) < 0.01,
      'epoch ' + epochs[at] + ': ' + JSON.stringify([cells[i], row])));
    const said = await page.locator('#run-' + run.id + ' .slider output').textContent();
    check(said === String(epochs[at]), 'the slider says ' + said);
  }
  await page.locator('#slider-' + run.id).focus();
  await page.keyboard.press('Home');
  check(await page.locator('#run-' + run.id + ' .slider output').textContent() ===
    String(epochs[0]), 'the keyboard slides, too');
}

// The last columns hold what the run's summary says of each layer, and a layer has its bars.
async function policy(page, run) {
  const summary = typeof run.summary === 'string' ? JSON.parse(run.summary) : run.summary;
  const bits = summary.policy[0].weight_bits !== undefined;
  const figure = page.locator('#run-' + run.id + ' .policy');
  const cells = await figure.locator('tbody tr').evaluateAll((rows) =>
    rows.map((row) => Array.from(row.cells, (c) => c.textContent)));
  check(cells.length === summary.policy.length, 'a row a layer');
  summary.policy.forEach((layer, i) => check(cells[i][0] === layer.layer && (bits ?
    Number(cells[i][1]) === layer.weight_bits && Number(cells[i][2]) === layer.input_bits :
    Number(cells[i][1]) === layer.channels && Number(cells[i][2]) === layer.of),
  JSON.stringify([cells[i], layer])));
  const widths = (part) => figure.locator('svg ' + part).evaluateAll((bars) =>
    bars.map((bar) => Number(bar.getAttribute('width'))));
  const whole = (await widths('.whole'))[0], drawn = await widths('.bar');
  summary.policy.forEach((layer, i) => check(Math.abs(drawn[i] / whole -
    (bits ? layer.weight_bits / 8 : layer.share)) < 0.01, layer.layer + ': ' + drawn[i]));
  const ends = await page.locator('#run-' + run.id + ' table', { hasText: 'Before and after' })
    .locator('tbody tr').evaluateAll((rows) => Object.fromEntries(rows.map((row) =>
      [row.cells[0].textContent, Array.from(row.cells).slice(1).map((c) => c.textContent)])));
  check(same(ends['Size (KiB)'][1], summary.size_bytes / 1024, 5) &&
    same(ends['Size (KiB)'][0], summary.float_size_bytes / 1024, 5) &&
    same(ends['Top-1, held-out images'][1], bits ? summary.valid_top1 : summary.top1, 5) &&
    same(ends['Latency measured here (ms)'][1], summary.measured_ms, 5), JSON.stringify(ends));
}

async function clicks(page) {
  const point = page.locator('.pareto svg a:has(circle.front)').first();
  await point.click();
  const row = await page.evaluate((id) => Array.from(
    document.getElementById(id).cells, (c) => c.textContent),
  (await point.getAttribute('href')).slice(1));
  const picked = await page.locator('.picked').first().textContent();
  check(picked.includes(row[1] + ' ms') && picked.includes('top-1 ' + row[2]), picked);
  const chips = await page.locator('.picked').first().locator('span').allTextContents();
  check(chips.join(' ') === row[7].replaceAll('.', ' '), 'its blocks: ' + chips);
}

async function hostile(page) {
  check(await page.evaluate(() => window.hacked === undefined), 'a name was run as a script');
  const strange = await page.evaluate(() => Array.from(
    document.querySelectorAll('script, img, iframe, object, style, link, base'),
    (e) => e.tagName).sort().join());
  check(strange === 'SCRIPT,STYLE', 'elements that are not ours: ' + strange);
  check((await page.textContent('#runs')).includes('<img src=x onerror='), 'markup is not shown');
}

async function checkIn(colorScheme) {
  await withPage({ colorScheme }, address, async (page) => {
    await page.goto(address);
    const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    check((dark === 'rgb(255, 255, 255)') === (colorScheme === 'light'), 'background ' + dark);
    await hostile(page);
    const found = await accessibility(page);
    check(found.length === 0, found.join('\n'));
    if (colorScheme === 'light') { // what is the same in both
      const searches = of('run').filter((run) => run.kind === 'search');
      await paretoTables(page);
      for (const run of searches) {
        await curveTables(page, run);
        await heatMap(page, run);
      }
      const chosen = of('run').filter((run) => ['prune', 'quantize'].includes(run.kind));
      check(chosen.length === 2, 'a policy of channels and one of bits');
      for (const run of chosen) await policy(page, run);
      await clicks(page);
    }
    await page.evaluate(() => document.querySelectorAll('details').forEach((d) => {
      d.open = true;
    }));
    const opened = await accessibility(page);
    check(opened.length === 0, opened.join('\n'));
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    check(!wide, 'the page is wider than its window');
    await page.setViewportSize({ width: 390, height: 800 });
    const phone = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    check(!phone, 'the page is wider than a phone');
    const tiny = await page.locator('svg').evaluateAll((list) => list.filter((svg) =>
      svg.getBoundingClientRect().width < 0.7 * svg.viewBox.baseVal.width).length);
    check(tiny === 0, tiny + ' pictures are too small to be read on a phone');
    const narrow = await accessibility(page, ['scrollable-region-focusable']);
    check(narrow.length === 0, narrow.join('\n'));
    await page.setViewportSize({ width: 1100, height: 800 });
    await page.emulateMedia({ media: 'print' });
    check(await page.locator('.slider').first().isHidden(), 'a slider on paper');
    const paper = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    check(paper === 'rgb(255, 255, 255)', 'ink on the whole sheet: ' + paper);
    check((await page.pdf()).length > 10000, 'it prints');
  });
}

(async () => {
  await checkIn('light');
  await checkIn('dark');
})().catch((error) => { console.error(error.message); process.exit(1); });
