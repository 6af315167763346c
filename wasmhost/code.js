// What runs the code that a model has written. It is evaluated once, before its image is made; each run starts from
// that. It keeps what it needs and takes away what the code must not rely on: nothing here guards anything, since the
// host grants nothing and judges each call of a tool by itself.
const { GenkitError } = genkit;
const { stringify, parse } = JSON;
const { create, defineProperty, freeze } = Object;
const { setTimeout: later, console: log } = globalThis;
const AsyncFunction = (async () => {}).constructor;
const declare = defineMiddleware;
const maxConsole = 8192;

for (const name of Object.keys(genkit)) if (globalThis[name] === genkit[name]) delete globalThis[name];
for (const name of ["genkit", "require", "fetch", "Headers", "Request", "Response", "crypto", "CryptoKey"]) delete globalThis[name];

// A run that is continued sees the numbers that the one before it saw.
const seedRandom = (seed) => {
  let a = seed | 0;
  Math.random = () => { // mulberry32
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
};

const shown = (value) => {
  if (typeof value === "string") return value;
  try {
    return value instanceof Error ? `${value.name}: ${value.message}` : stringify(value) ?? String(value);
  } catch {
    return "[a value that can't be shown]";
  }
};

// The places of the code begin behind the lines that a function's text has before its body.
const placeOf = (stack, wrapped) => {
  const found = /<(?:input|evalScript|anonymous)>:(\d+)/.exec(stack);
  const line = found === null ? 0 : +found[1] - (wrapped ? 3 : 2);
  return line > 0 ? ` (line ${line})` : "";
};

const described = (thrown, wrapped) => {
  try {
    if (!(thrown instanceof Error)) return `the code threw ${shown(thrown)}`;
    const name = thrown instanceof GenkitError ? thrown.code : thrown.name;
    return `${name}: ${thrown.message}${placeOf(thrown.stack, wrapped)}`;
  } catch {
    return "the code threw a value that can't be described";
  }
};

declare({ name: "run", generate: async ({ code, tools: names, seed }, next) => {
  seedRandom(seed);
  const lines = [];
  let left = maxConsole;
  const print = (level) => (...values) => {
    const line = values.map(shown).join(" ");
    log[level](line);
    if (left <= 0) return;
    lines.push(line.length > left ? `${line.slice(0, left)}…` : line);
    left -= line.length + 1;
  };
  globalThis.console = { trace: print("trace"), debug: print("debug"), log: print("log"), info: print("info"), dir: print("log"), warn: print("warn"), error: print("error") };

  // Calls that are made before the code waits go to the host together, and run side by side.
  let waiting = [];
  const flush = () => {
    const batch = waiting;
    waiting = [];
    let outcomes;
    try {
      outcomes = next({ calls: batch.map(({ tool, input }) => ({ tool, input })) }).outcomes;
    } catch (thrown) {
      for (const { reject } of batch) reject(thrown);
      return;
    }
    batch.forEach(({ resolve, reject }, i) => {
      const { output, error } = outcomes[i];
      if (error === undefined) resolve(output); else reject(new GenkitError(error.code, error.message));
    });
  };
  const tools = create(null);
  for (const tool of names) {
    defineProperty(tools, tool, { enumerable: true, value: (input) => new Promise((resolve, reject) => {
      const json = stringify(input === undefined ? {} : input);
      if (json === undefined) throw new TypeError(`the input of ${tool} is no JSON`);
      if (waiting.length === 0) later(flush, 0);
      waiting.push({ tool, input: json, resolve, reject });
    }) });
  }
  freeze(tools);

  const wrapped = /^\s*async\b/.test(code);
  try {
    const run = wrapped ? new AsyncFunction("tools", `return (\n${code}\n)(tools)`) : new AsyncFunction("tools", code);
    const result = stringify(await run(tools));
    return { result: result === undefined ? "null" : result, console: lines };
  } catch (thrown) {
    return { error: described(thrown, wrapped), console: lines };
  }
} });
