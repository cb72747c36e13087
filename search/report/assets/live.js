// The dashboard: the part of the address behind # says which view; the server says when it changed.
(function () {
  const main = document.querySelector('main'), status = document.getElementById('status');
  const SILENT_MS = 15000, RELOAD_MS = 30000, PAUSE_MS = 1000, RETRY_MS = 2000;
  const given = /^#token=([\w-]+)$/.exec(location.hash);
  let heard = 0, loaded = 0, loading = false, wanted = false, trouble = 'no answer yet';
  if (given) {
    sessionStorage.setItem('token', given[1]);
    history.replaceState(null, '', location.pathname);
  }
  const headers = { Authorization: 'Bearer ' + (sessionStorage.getItem('token') || '') };

  function address() {
    const known = /^#(runs|run|difference)((?:-\d+)*)$/.exec(location.hash);
    return known ? '/view/' + known[1] + known[2].replaceAll('-', '/') : '/view/runs';
  }
  function say() {
    const stale = trouble || Date.now() - heard > SILENT_MS;
    const since = loaded ? 'stale since ' + new Date(loaded).toLocaleTimeString() + ': ' : '';
    const text = stale ? since + (trouble || 'the server is silent') : 'live';
    status.className = stale ? 'stale' : '';
    if (status.textContent !== text) status.textContent = text;
  }
  function fail(why) { trouble = why; say(); }
  function refusal(code, text) {
    return code === 401 ? 'the token is missing or wrong; open the address that nas serve printed'
      : text.trim();
  }

  // What a person has opened, slid and picked stays so when the same view comes again.
  function keep() {
    return {
      open: Array.from(main.querySelectorAll('details'), function (d) { return d.open; }),
      slid: Array.from(main.querySelectorAll('.slider input'), function (i) {
        return i.value === i.max ? null : i.value;
      }),
      picked: Array.from(main.querySelectorAll('.picked'), function (p) {
        return Array.from(p.childNodes);
      }),
      focus: document.activeElement && document.activeElement.id,
    };
  }
  function restore(kept) {
    main.querySelectorAll('details').forEach(function (d, n) { d.open = kept.open[n] || false; });
    main.querySelectorAll('.slider input').forEach(function (input, n) {
      if (kept.slid[n] === null || kept.slid[n] === undefined) return;
      input.value = kept.slid[n];
      input.dispatchEvent(new Event('input'));
    });
    main.querySelectorAll('.picked').forEach(function (p, n) {
      p.replaceChildren.apply(p, kept.picked[n] || []);
    });
    const focused = kept.focus && document.getElementById(kept.focus);
    if (focused) focused.focus({ preventScroll: true });
  }

  let shown = '';
  async function load() {
    wanted = true;
    if (loading) return;
    loading = true;
    while (wanted) {
      const from = address();
      wanted = false;
      try {
        const answer = await fetch(from, { headers: headers, cache: 'no-store' });
        const text = await answer.text();
        if (!answer.ok) {
          fail(refusal(answer.status, text));
        } else if (from === address()) {
          const kept = from === shown ? keep() : null;
          main.innerHTML = text; // made of escaped text only; the content policy allows no script
          main.removeAttribute('aria-busy');
          show(main);
          if (kept) restore(kept);
          else scrollTo(0, 0);
          shown = from;
          loaded = heard = Date.now();
          trouble = '';
          say();
        }
      } catch (error) {
        fail('the server does not answer');
      }
      await new Promise(function (done) { setTimeout(done, PAUSE_MS); });
    }
    loading = false;
  }

  // Server-sent events, read by hand: EventSource cannot send a token.
  async function listen() {
    try {
      const answer = await fetch('/events', { headers: headers, cache: 'no-store' });
      if (!answer.ok) fail(refusal(answer.status, await answer.text()));
      if (answer.status === 401) return; // asking again does not help
      if (!answer.ok) throw new Error(trouble);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = '', again = false;
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        const events = (rest + part.value).split('\n\n');
        rest = events.pop();
        again = events.some(function (e) { return e.startsWith('event: again'); });
        heard = Date.now();
        if (trouble || heard - loaded > RELOAD_MS || events.some(function (e) {
          return e.startsWith('event: change');
        })) load();
        say();
      }
      if (again) return listen(); // its time is over, no more
      fail('the server has ended');
    } catch (error) {
      fail(error instanceof TypeError ? 'the server does not answer' : error.message);
    }
    setTimeout(listen, RETRY_MS);
  }

  addEventListener('hashchange', function () {
    const next = /^#token=/.test(location.hash);
    if (next) location.reload();
    else load();
  });
  main.addEventListener('change', function (event) {
    const run = event.target.dataset.run;
    if (run && event.target.value) location.hash = 'difference-' + run + '-' + event.target.value;
  });
  setInterval(say, 2000);
  load();
  listen();
})();
