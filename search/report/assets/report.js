'use strict';
// Letters of a heat map's frames, by level.
const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-';
// A click on a network of a Pareto picture shows its row and its blocks.
function showPareto(box) {
  box.addEventListener('click', function (event) {
    const link = event.target.closest('svg a');
    if (!link) return;
    const row = document.getElementById(link.getAttribute('href').slice(1));
    const cells = Array.from(row.cells, function (cell) { return cell.textContent; });
    const picked = box.querySelector('.picked'), line = document.createElement('div');
    event.preventDefault();
    line.textContent = cells[0] + ': ' + cells[1] + ' ms, top-1 ' + cells[2] + ', ' +
      cells[5] + ' M MACs, ' + cells[6] + ' M parameters';
    picked.replaceChildren(line);
    cells[7].split(' ').forEach(function (word) {
      const chip = document.createElement('span'), kernel = /^([357])x/.exec(word);
      chip.textContent = word.replace(/[.]/, ' ');
      if (kernel) chip.className = 'k' + kernel[1];
      picked.append(chip);
    });
  });
}
// The slider redraws a heat map from its frames: a word a row, the last letter its entropy.
function showHeat(heat) {
  const frames = Array.from(heat.querySelectorAll('.frames i'));
  const cells = heat.querySelectorAll('.cell'), bars = heat.querySelectorAll('.open');
  const slider = heat.querySelector('.slider'), input = slider.querySelector('input');
  input.max = frames.length - 1;
  input.value = input.max;
  slider.hidden = false;
  input.addEventListener('input', function () {
    const frame = frames[Number(input.value)];
    let next = 0;
    slider.querySelector('output').textContent = frame.dataset.epoch;
    frame.textContent.trim().split(' ').forEach(function (word, row) {
      const levels = Array.from(word, function (c) { return LETTERS.indexOf(c) / 63; });
      bars[row].setAttribute('width', levels.pop() * 80);
      const top = levels.indexOf(Math.max.apply(null, levels));
      levels.forEach(function (p, column) {
        const cell = cells[next++], title = cell.querySelector('title');
        cell.setAttribute('fill-opacity', p);
        cell.setAttribute('class', column === top ? 'cell top' : 'cell');
        title.textContent = title.textContent.replace(/: .*$/, ': about ' + p.toFixed(2));
      });
    });
    input.setAttribute('aria-valuetext', 'epoch ' + frame.dataset.epoch);
  });
}
// Wires up the pictures of a page, or of a part of one.
function show(root) {
  root.querySelectorAll('.pareto').forEach(showPareto);
  root.querySelectorAll('.heat').forEach(showHeat);
}
