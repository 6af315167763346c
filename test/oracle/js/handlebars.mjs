// Renders templates (JSON on stdin: [{template, data, partials}]) as dotprompt does, but
// for {{json}} of nothing, and writes the same list with want (the text) or error to
// stdout: so engine/prompt/internal/handlebars/testdata/js.json was made.
import { createRequire } from 'node:module';
const require = createRequire(import.meta.url);
const Handlebars = require('handlebars/dist/cjs/handlebars.js');

const known = { json: true, ifEquals: true, unlessEquals: true, shout: true, wrap: true };

function render(c) {
  const h = Handlebars.create();
  h.registerHelper('json', (v, o) => new h.SafeString(v === undefined ? '' : JSON.stringify(v, null, o.hash.indent || 0)));
  h.registerHelper('ifEquals', function (a, b, o) { return a === b ? o.fn(this) : o.inverse(this); });
  h.registerHelper('unlessEquals', function (a, b, o) { return a !== b ? o.fn(this) : o.inverse(this); });
  h.registerHelper('shout', (t) => String(t).toUpperCase() + '!');
  h.registerHelper('wrap', function (o) { return '<' + (o.hash.with ?? '') + o.fn(this) + '|' + o.inverse(this) + '>'; });
  h.log = () => {};
  for (const [name, source] of Object.entries(c.partials ?? {})) h.registerPartial(name, source);
  return h.compile(c.template, { knownHelpers: known, knownHelpersOnly: true, noEscape: true })(c.data, { data: { auth: { email: 'a@b' } } });
}

const pieces = [];
for await (const piece of process.stdin) pieces.push(piece);
const cases = JSON.parse(Buffer.concat(pieces).toString('utf8'));
console.log = () => {};
for (const c of cases) {
  try {
    c.want = render({ ...cases[0], ...c }); // data and partials of the first, where left out
    delete c.error;
  } catch (e) {
    c.error = String(e.message).split('\n')[0];
    delete c.want;
  }
}
process.stdout.write('[\n' + cases.map((c) => JSON.stringify(c)).join(',\n') + '\n]\n');
