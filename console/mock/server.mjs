// A mock of the gateway for developing and testing the console: the contract of docs/console-api.md in memory.
import { spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { strFromU8, strToU8, unzipSync, zipSync } from 'fflate';
import { begin } from './seed.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, '../dist');
export const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml' };
const arn = (name) => `arn:aws:lambda:us-east-1:000000000000:function:${name}`;

export async function start(port = 3001, gatewayPort = 3000) {
  const functions = new Map();
  const followers = { changes: new Set(), logs: new Set() };
  const queue = [];
  let generation = 0;
  const emit = (set, event, data, wants = () => true) => {
    for (const one of set) if (wants(one)) one.response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  };
  const sha = (files) => createHash('sha256').update(JSON.stringify(Object.entries(files).sort())).digest('base64');
  function deployed(fn) {
    fn.modified = new Date().toISOString();
    fn.revisionId = randomUUID();
    fn.warm = false;
    fn.folder = undefined;
    emit(followers.changes, 'deployment', { generation: ++generation, changed: [fn.name], removed: [] });
  }
  function add(name, files, more = {}) {
    const fn = { name, files, settings: { Description: '', MemorySize: 128, Timeout: 3, Handler: 'lambda_function.lambda_handler' }, triggers: {}, events: {}, invocations: [], logs: [], versions: [], aliases: [], tags: {}, policy: [], ...more };
    functions.set(name, fn);
    deployed(fn);
    return fn;
  }
  const configuration = (fn) => ({ FunctionName: fn.name, FunctionArn: arn(fn.name), Runtime: 'python3.12', CodeSha256: sha(fn.files), CodeSize: JSON.stringify(fn.files).length, LastModified: fn.modified, RevisionId: fn.revisionId, State: 'Active', LastUpdateStatus: 'Successful', Version: '$LATEST', ...fn.settings });

  async function python(args, input) {
    const child = spawn('python3', args);
    let [out, log] = ['', ''];
    child.stdout.on('data', (data) => (out += data));
    child.stderr.on('data', (data) => (log += data));
    child.stdin.end(input);
    await new Promise((resolve) => child.on('close', resolve));
    return { out, log };
  }
  async function invoke(fn, event, trigger = 'invoke') {
    const id = randomUUID();
    if (!fn.folder) {
      fn.folder = mkdtempSync(join(tmpdir(), 'console-mock-'));
      for (const [path, text] of Object.entries(fn.files)) {
        mkdirSync(dirname(join(fn.folder, path)), { recursive: true });
        writeFileSync(join(fn.folder, path), text);
      }
    }
    const { out, log } = await python([join(here, 'run.py'), fn.folder, fn.settings.Handler, id], JSON.stringify(event));
    const told = out ? JSON.parse(out) : { ok: false, result: { errorType: 'Runtime.ExitError', errorMessage: 'the process ended' }, ms: 0, init: 0 };
    const cold = !fn.warm;
    fn.warm = true;
    const numbers = { duration_ms: Math.round(told.ms * 100) / 100, billed_ms: Math.ceil(told.ms), max_memory_mb: 31, cold, ...(cold ? { init_ms: Math.round(told.init * 100) / 100 } : {}) };
    const whole = `START RequestId: ${id} Version: $LATEST\n${log}END RequestId: ${id}\nREPORT RequestId: ${id}\tDuration: ${numbers.duration_ms} ms\tBilled Duration: ${numbers.billed_ms} ms\tMemory Size: 128 MB\tMax Memory Used: 31 MB${cold ? `\tInit Duration: ${numbers.init_ms} ms` : ''}\n`;
    fn.invocations.unshift({ request_id: id, time_ms: Date.now(), trigger, qualifier: '$LATEST', ok: told.ok, ...(told.ok ? {} : { error_type: told.result.errorType }), ...numbers, event, result: told.result, log: whole });
    for (const text of whole.trimEnd().split('\n')) {
      const record = { function: fn.name, time: new Date().toISOString(), request_id: id, level: /^\[(\w+)\]/.exec(text)?.[1] ?? 'INFO', text };
      fn.logs.push(record);
      emit(followers.logs, 'record', record, (one) => !one.name || one.name === fn.name);
    }
    emit(followers.changes, 'invocation', { function: fn.name, request_id: id, ok: told.ok, ms: told.ms });
    return { id, ...told, log: whole };
  }
  const urls = (fn) => [{ url: `http://127.0.0.1:${gatewayPort}/${fn.name}`, method: 'ANY', what: 'HTTP API route' }];
  function triggers(fn) {
    const list = Object.entries(fn.triggers).map(([id, event]) => {
      const p = event.Properties;
      const kind = { HttpApi: 'http', Api: 'http', Schedule: 'schedule', ScheduleV2: 'schedule', SQS: 'sqs', S3: 's3' }[event.Type];
      const url = kind === 'http' ? `http://127.0.0.1:${gatewayPort}${p.Path}` : undefined;
      return { id, kind, title: p.Path ? `${p.Method.toUpperCase()} ${p.Path}` : (p.Schedule ?? p.ScheduleExpression ?? p.Queue ?? p.Bucket), detail: event.Type, url, enabled: true, editable: true, source: { path: `${fn.name}/function.yaml`, line: 3 }, event, ...(kind === 'schedule' ? { next: times(5) } : {}) };
    });
    if (fn.url) list.push({ id: 'url', kind: 'url', title: `${fn.name}.lambda-url`, detail: fn.url.AuthType, url: `http://127.0.0.1:${gatewayPort}/${fn.name}`, enabled: true, editable: true });
    return list;
  }
  const times = (minutes) => [1, 2, 3, 4, 5].map((n) => new Date(Math.ceil(Date.now() / 3e5) * 3e5 + n * minutes * 6e4).toISOString());
  function minutes(fn) {
    const now = Math.floor(Date.now() / 60_000) * 60_000;
    return Array.from({ length: 60 }, (_, at) => {
      const t_ms = now - (59 - at) * 60_000;
      const mine = fn.invocations.filter((one) => one.time_ms >= t_ms && one.time_ms < t_ms + 60_000);
      const quiet = fn.busy ? Math.max(0, Math.round(6 + 5 * Math.sin(at / 5 + fn.busy) - (at % 7))) : 0;
      return { t_ms, invocations: quiet + mine.length, errors: mine.filter((one) => !one.ok).length + (fn.flaky && at % 13 === 4 ? 1 : 0), p50_ms: quiet + mine.length > 0 ? 3 + (at % 5) : null };
    });
  }
  const failed = (status, message, hint) => ({ status, body: { message, ...(hint ? { hint } : {}) } });

  async function answer(method, url, body, request, response) {
    const path = decodeURIComponent(url.pathname);
    const query = url.searchParams;
    const parse = () => (body.length ? JSON.parse(body) : {});
    let m;
    if (path === '/_handlerd/overview') return { body: { version: '0.1.0', account_id: '000000000000', region: 'us-east-1', http_url: `http://127.0.0.1:${gatewayPort}`, template: false, handlers: 'handlers', interpreter: 'python3.12', functions: [...functions.values()].map((fn) => ({ name: fn.name, state: fn.state ?? 'Active', reason: fn.reason, runtime: 'python3.12', last_modified: fn.modified, source: 'handlers', description: fn.settings.Description, urls: urls(fn), minutes: minutes(fn) })).sort((a, b) => (a.name < b.name ? -1 : 1)), problems: [], isolation: { tier: 1, parts: ['files', 'other processes', 'signals'], missing: [] } } };
    if (path === '/_handlerd/changes' || (path === '/_handlerd/logs' && query.get('follow'))) {
      const set = path.endsWith('logs') ? followers.logs : followers.changes;
      const one = { response, name: query.get('function') };
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
      response.write('event: hello\ndata: {}\n\n');
      set.add(one);
      request.on('close', () => set.delete(one));
      return undefined;
    }
    if (path === '/_handlerd/logs') return { body: [...functions.values()].filter((fn) => !query.get('function') || fn.name === query.get('function')).flatMap((fn) => fn.logs).slice(-500) };
    if (path === '/_handlerd/samples') return { body: [{ name: 'http-api', title: 'API Gateway HTTP API, payload format 2.0', event: { version: '2.0', rawPath: '/hello', queryStringParameters: { name: 'Kim' }, requestContext: { http: { method: 'GET', path: '/hello' } } } }, { name: 'sqs', title: 'SQS, a batch of two messages', event: { Records: [{ messageId: '1', body: '{"n": 1}' }, { messageId: '2', body: '{"n": 2}' }] } }] };
    if (path === '/_handlerd/runtimes') return { body: [{ runtime: 'python3.12', version: '3.12', default: true }, { runtime: 'python3.11', version: '3.11', default: false }] };
    if (path === '/_handlerd/check') {
      const { path: file, text } = parse();
      if (!file.endsWith('.py')) return { body: { problems: [] } };
      const { out } = await python(['-c', 'import sys,json\ntry: compile(sys.stdin.read(),"x","exec"); print("[]")\nexcept SyntaxError as e: print(json.dumps([{"line":e.lineno,"column":e.offset,"end_line":e.end_lineno or e.lineno,"end_column":e.end_offset or e.offset+1,"message":e.msg,"severity":"error"}]))'], text);
      return { body: { problems: JSON.parse(out || '[]') } };
    }
    if (path === '/_handlerd/expression') {
      const { expression } = parse();
      const rate = /^rate\((\d+) (minute|hour|day)s?\)$/.exec(expression);
      return { body: rate ? { valid: true, next: times(Number(rate[1]) * { minute: 1, hour: 60, day: 1440 }[rate[2]]) } : /^(cron|at)\(.+\)$/.test(expression) ? { valid: true, next: times(1440) } : { valid: false, message: 'write rate(5 minutes), cron(0 9 * * ? *) or at(2027-01-01T09:00:00)' } };
    }
    if (path === '/_handlerd/metrics') {
      const fn = functions.get(query.get('function'));
      const [from, to, step] = ['from_ms', 'to_ms', 'step_s'].map((key) => Number(query.get(key)));
      const t_ms = Array.from({ length: Math.floor((to - from) / step / 1000) }, (_, at) => from + at * step * 1000);
      const wave = (at) => (fn?.busy ? Math.max(0, Math.round(6 + 5 * Math.sin(at / 5 + fn.busy))) : 0);
      return { body: { step_s: step, t_ms, invocations: t_ms.map((_, at) => wave(at)), errors: t_ms.map((_, at) => (fn?.flaky && at % 13 === 4 ? 1 : 0)), throttles: t_ms.map(() => 0), cold_starts: t_ms.map((_, at) => (fn?.busy && at % 20 === 0 ? 1 : 0)), concurrency: t_ms.map((_, at) => (wave(at) > 0 ? 1 + (wave(at) > 8 ? 1 : 0) : 0)), p50_ms: t_ms.map((_, at) => (wave(at) ? 3 + Math.sin(at / 9) : null)), p90_ms: t_ms.map((_, at) => (wave(at) ? 8 + 3 * Math.sin(at / 7) : null)), p99_ms: t_ms.map((_, at) => (wave(at) ? 16 + 7 * Math.sin(at / 4) : null)) } };
    }
    if (path === '/_handlerd/queue') return { body: { now: Date.now(), lanes: [], events: queue.filter((one) => !query.get('function') || one.function === query.get('function')) } };
    if ((m = /^\/_handlerd\/queue\/(retry|discard)$/.exec(path))) {
      const { ids = [], function: fn } = parse();
      const chosen = queue.filter((one) => ids.includes(String(one.id)) || (ids.length === 0 && one.function === fn && one.state === 'dead'));
      for (const one of chosen) queue.splice(queue.indexOf(one), 1);
      return { body: { changed: chosen.length, running: [] } };
    }
    if ((m = /^\/_handlerd\/queue\/(\d+)$/.exec(path))) return { body: { ...queue.find((one) => one.id === Number(m[1])), body: '{"order": 7}' } };
    if (path === '/mock/save') {
      const { function: name, path: file, text } = parse();
      functions.get(name).files[file] = text;
      deployed(functions.get(name));
      return { body: {} };
    }
    if ((m = /^\/_handlerd\/functions\/([^/]+)\/(.+)$/.exec(path))) {
      const fn = functions.get(m[1]);
      if (!fn) return failed(404, `There is no function ${m[1]}.`);
      const [what, ...rest] = m[2].split('/');
      const key = rest.join('/');
      const revision = sha(fn.files);
      if (what === 'files') return { body: { revision, files: Object.entries(fn.files).map(([file, text]) => ({ path: file, size: text.length, binary: false })) } };
      if (what === 'file') return fn.files[query.get('path')] === undefined ? failed(404, 'There is no such file.') : { text: fn.files[query.get('path')], headers: { 'x-revision': revision } };
      if (what === 'download') return { bytes: zipSync(Object.fromEntries(Object.entries(fn.files).map(([file, text]) => [file, strToU8(text)]))), headers: { 'x-revision': revision, 'content-type': 'application/zip' } };
      if (what === 'export') return { text: `AWSTemplateFormatVersion: '2010-09-09'\nTransform: AWS::Serverless-2016-10-31\nResources:\n  Function:\n    Type: AWS::Serverless::Function\n    Properties:\n      FunctionName: ${fn.name}\n      Handler: ${fn.settings.Handler}\n      Runtime: python3.12\n` };
      if (what === 'test-events') {
        if (method === 'PUT') fn.events[key] = parse();
        if (method === 'DELETE') delete fn.events[key];
        return { body: { events: Object.entries(fn.events).map(([name, event]) => ({ name, event })) } };
      }
      if (what === 'triggers') {
        if (method === 'PUT') fn.triggers[key] = parse();
        if (method === 'DELETE') delete fn.triggers[key];
        if (method !== 'GET') deployed(fn);
        return { body: triggers(fn) };
      }
      if (what === 'invocations') {
        if (!key) return { body: fn.invocations.slice(0, 50).map(({ event, result, log, ...one }) => one) };
        const one = fn.invocations.find((one) => one.request_id === key);
        return one ? { body: one } : failed(404, 'This invocation is no longer kept.');
      }
    }
    if (path === '/2018-10-31/layers') return { body: { Layers: [] } };
    if (path === '/2015-03-31/functions' && method === 'POST') {
      const { FunctionName, Code, Role, Runtime, ...settings } = parse();
      if (functions.has(FunctionName)) return failed(409, `Function already exist: ${FunctionName}`);
      return { status: 201, body: configuration(add(FunctionName, Object.fromEntries(Object.entries(unzipSync(Buffer.from(Code.ZipFile, 'base64'))).map(([file, bytes]) => [file, strFromU8(bytes)])), { settings: { Description: '', MemorySize: 128, Timeout: 3, ...settings } })) };
    }
    if ((m = /^\/2017-03-31\/tags\/.*:function:(.+)$/.exec(path))) {
      const fn = functions.get(m[1]);
      if (method === 'POST') Object.assign(fn.tags, parse().Tags);
      if (method === 'DELETE') delete fn.tags[query.get('tagKeys')];
      return { body: { Tags: fn.tags } };
    }
    if ((m = /^\/20\d\d-\d\d-\d\d\/functions\/([^/]+)\/?(.*)$/.exec(path))) {
      const fn = functions.get(m[1]);
      if (!fn) return failed(404, `Function not found: ${arn(m[1])}`);
      const [what, key] = m[2].split('/');
      if (what === '' && method === 'DELETE') {
        functions.delete(fn.name);
        emit(followers.changes, 'deployment', { generation: ++generation, changed: [], removed: [fn.name] });
        return { status: 204, body: undefined };
      }
      if (what === 'configuration') {
        if (method === 'PUT') {
          const { Layers, ...changes } = parse();
          Object.assign(fn.settings, changes, Layers ? { Layers: Layers.map((Arn) => ({ Arn })) } : {});
          deployed(fn);
        }
        return { body: configuration(fn) };
      }
      if (what === 'code') {
        const { ZipFile, RevisionId } = parse();
        if (RevisionId && RevisionId !== fn.revisionId) return failed(412, 'The Revision Id provided does not match the latest Revision Id.');
        fn.files = Object.fromEntries(Object.entries(unzipSync(Buffer.from(ZipFile, 'base64'))).map(([file, bytes]) => [file, strFromU8(bytes)]));
        deployed(fn);
        return { body: configuration(fn) };
      }
      if (what === 'invocations') {
        const told = await invoke(fn, parse());
        return { body: told.result ?? null, headers: { 'x-amzn-requestid': told.id, 'x-amz-executed-version': '$LATEST', 'x-amz-log-result': Buffer.from(told.log.slice(-4096)).toString('base64'), ...(told.ok ? {} : { 'x-amz-function-error': 'Unhandled' }) } };
      }
      if (what === 'event-invoke-config') {
        if (method === 'PUT') fn.async = parse();
        return fn.async ? { body: fn.async } : failed(404, 'The function does not have an EventInvokeConfig');
      }
      if (what === 'concurrency') {
        if (method === 'PUT') fn.reserved = parse().ReservedConcurrentExecutions;
        if (method === 'DELETE') fn.reserved = undefined;
        return { body: fn.reserved === undefined ? {} : { ReservedConcurrentExecutions: fn.reserved } };
      }
      if (what === 'versions') {
        if (method === 'POST') fn.versions.push({ ...configuration(fn), Version: String(fn.versions.length + 1), Description: parse().Description });
        return { body: { Versions: [configuration(fn), ...fn.versions] } };
      }
      if (what === 'aliases') {
        if (method === 'POST') fn.aliases.push({ Description: '', RevisionId: randomUUID(), ...parse() });
        if (method === 'PUT') Object.assign(fn.aliases.find((one) => one.Name === key), parse());
        if (method === 'DELETE') fn.aliases = fn.aliases.filter((one) => one.Name !== key);
        return { body: { Aliases: fn.aliases } };
      }
      if (what === 'policy') {
        if (method === 'POST') {
          const { StatementId, Principal, Action } = parse();
          fn.policy.push({ Sid: StatementId, Effect: 'Allow', Principal: { Service: Principal }, Action, Resource: arn(fn.name) });
        }
        if (method === 'DELETE') fn.policy = fn.policy.filter((one) => one.Sid !== key);
        return fn.policy.length ? { body: { Policy: JSON.stringify({ Statement: fn.policy }) } } : failed(404, 'No policy is associated');
      }
      if (what === 'url') {
        if (method === 'POST') fn.url = parse();
        if (method === 'DELETE') fn.url = undefined;
        if (method !== 'GET') deployed(fn);
        return fn.url ? { body: { FunctionUrl: urls(fn)[0].url, ...fn.url } } : method === 'DELETE' ? { status: 204 } : failed(404, 'no url');
      }
    }
    return failed(404, `There is nothing at ${method} ${path}.`);
  }
  const read = async (request) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    return Buffer.concat(parts);
  };
  const server = createServer(async (request, response) => {
    response.setHeader('content-security-policy', CSP);
    response.setHeader('x-content-type-options', 'nosniff');
    const url = new URL(request.url, 'http://localhost');
    const file = url.pathname === '/' ? '/index.html' : url.pathname;
    if (request.method === 'GET' && /^\/(index\.html|icon\.svg|assets\/[\w.-]+)$/.test(file) && existsSync(dist + file)) {
      const packed = existsSync(`${dist}${file}.gz`);
      response.writeHead(200, { 'content-type': TYPES[extname(file)], ...(packed ? { 'content-encoding': 'gzip' } : {}) });
      return response.end(readFileSync(dist + file + (packed ? '.gz' : '')));
    }
    try {
      const told = await answer(request.method, url, await read(request), request, response);
      if (!told) return;
      response.writeHead(told.status ?? 200, { 'content-type': told.text !== undefined ? 'text/plain; charset=utf-8' : 'application/json', ...told.headers });
      response.end(told.bytes ?? told.text ?? (told.body === undefined ? '' : JSON.stringify(told.body)));
    } catch (error) {
      response.writeHead(500).end(JSON.stringify({ message: String(error.stack) }));
    }
  });
  const gateway = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://localhost');
    const fn = functions.get(url.pathname.split('/')[1]);
    if (!fn) return response.writeHead(404).end('{"message":"Not Found"}');
    const body = (await read(request)).toString();
    const told = await invoke(fn, { version: '2.0', rawPath: url.pathname, queryStringParameters: Object.fromEntries(url.searchParams), requestContext: { http: { method: request.method, path: url.pathname } }, body }, 'http');
    response.writeHead(told.ok ? (told.result?.statusCode ?? 200) : 500, { 'content-type': 'application/json' }).end(told.ok ? String(told.result?.body ?? JSON.stringify(told.result)) : '{"message":"Internal Server Error"}');
  });
  begin(add, queue);
  await Promise.all([new Promise((done) => server.listen(port, '127.0.0.1', done)), new Promise((done) => gateway.listen(gatewayPort, '127.0.0.1', done))]);
  return { close: () => { server.closeAllConnections(); gateway.closeAllConnections(); server.close(); gateway.close(); } };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await start(Number(process.env.PORT ?? 3001), Number(process.env.HTTP_PORT ?? 3000));
  console.log('http://127.0.0.1:' + (process.env.PORT ?? 3001));
}
