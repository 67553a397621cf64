// The views under /_handlerd, as docs/console-api.md tells of them.
import { json, name as part, send } from './api.ts';
import type * as T from './types.ts';

const of = (fn: string, tail: string) => `/_handlerd/functions/${part(fn)}/${tail}`;

export const overview = () => json<T.Overview>('GET', '/_handlerd/overview');
export const files = (fn: string) => json<T.Files>('GET', of(fn, 'files'));
export async function file(fn: string, path: string): Promise<{ text: string; revision: string }> {
  const response = await send('GET', of(fn, 'file'), { query: { path } });
  return { text: await response.text(), revision: response.headers.get('x-revision') ?? '' };
}
export async function download(fn: string): Promise<{ zip: Uint8Array; revision: string }> {
  const response = await send('GET', of(fn, 'download'));
  return { zip: new Uint8Array(await response.arrayBuffer()), revision: response.headers.get('x-revision') ?? '' };
}
export const exported = async (fn: string) => (await send('GET', of(fn, 'export'))).text();
export const check = async (path: string, text: string) =>
  (await json<{ problems: T.Mark[] }>('POST', '/_handlerd/check', { json: { path, text } })).problems;
export const testEvents = async (fn: string) =>
  (await json<{ events: { name: string; event: unknown }[] }>('GET', of(fn, 'test-events'))).events;
export const putTestEvent = (fn: string, event: string, body: string) =>
  send('PUT', of(fn, `test-events/${part(event)}`), { body, headers: { 'content-type': 'application/json' } });
export const deleteTestEvent = (fn: string, event: string) => send('DELETE', of(fn, `test-events/${part(event)}`));
export const samples = () => json<T.Sample[]>('GET', '/_handlerd/samples');
export const invocations = async (fn: string, limit = 50) => json<T.Invocation[]>('GET', of(fn, 'invocations'), { query: { limit } });
export const invocation = (fn: string, id: string) => json<T.InvocationDetail>('GET', of(fn, `invocations/${part(id)}`));
export const triggers = (fn: string) => json<T.Trigger[]>('GET', of(fn, 'triggers'));
export const putTrigger = (fn: string, id: string, event: T.SamEvent) => send('PUT', of(fn, `triggers/${part(id)}`), { json: event });
export const deleteTrigger = (fn: string, id: string) => send('DELETE', of(fn, `triggers/${part(id)}`));
export const expression = (text: string, time_zone?: string) =>
  json<T.Expression>('POST', '/_handlerd/expression', { json: { expression: text, time_zone } });
export const logs = (query: { function?: string; request_id?: string }) => json<T.LogRecord[]>('GET', '/_handlerd/logs', { query });
export const metrics = (query: { function?: string; from_ms: number; to_ms: number; step_s: number }) =>
  json<T.Metrics>('GET', '/_handlerd/metrics', { query });
export const queue = (fn?: string) => json<T.Queue>('GET', '/_handlerd/queue', { query: { function: fn, limit: 200 } });
export const queueEntry = (id: number) => json<T.QueueEvent>('GET', `/_handlerd/queue/${id}`);
export const changeQueue = (verb: 'retry' | 'discard', chosen: { ids?: string[]; function?: string; waiting?: boolean }) =>
  json<{ changed: number; running: number[] }>('POST', `/_handlerd/queue/${verb}`, { json: chosen });
export const runtimes = () => json<T.Runtime[]>('GET', '/_handlerd/runtimes');
export const openSession = (token: string) => send('POST', '/_handlerd/session', { json: { token } });
