// What the gateway tells by itself: the overview of all functions, kept fresh by /_handlerd/changes.
import { watchers } from './api.ts';
import { keepToken } from './session.ts';
import { Stream } from './stream.ts';
import type { Overview } from './types.ts';
import * as views from './views.ts';

export interface Change { generation: number; changed: string[]; removed: string[] }

export const live = $state({
  overview: undefined as Overview | undefined,
  error: undefined as unknown,
  connected: true,
  locked: false,
  dead: 0,
  /** Grows with every deployment of the function. */
  deployed: {} as Record<string, number>,
  /** Grows with every invocation of the function. */
  invoked: {} as Record<string, number>,
  now: Date.now(),
});

/** The token is not, or no longer, good: it is asked for, and nothing else is. */
function lock(): void {
  keepToken(null);
  live.locked = true;
  source?.close();
}

watchers.push((status) => {
  if (status === 401) lock();
});

let asked = false;
let again = false;
export async function refresh(): Promise<void> {
  if (asked) {
    again = true;
    return;
  }
  asked = true;
  try {
    // The list does not wait for the queue.
    const queue = views.queue().catch(() => undefined);
    live.overview = await views.overview();
    live.error = undefined;
    live.dead = (await queue)?.events.filter((event) => event.state === 'dead').length ?? 0;
  } catch (error) {
    live.error = error;
  }
  asked = false;
  if (again) {
    again = false;
    soon();
  }
}

let due: ReturnType<typeof setTimeout> | undefined;
/** At most twice a second, however much happens. */
export function soon(): void {
  due ??= setTimeout(() => {
    due = undefined;
    void refresh();
  }, 500);
}

let source: Stream | undefined;
export function follow(): void {
  source?.close();
  source = new Stream('/_handlerd/changes');
  source.onopen = () => {
    if (!live.connected) void refresh();
    live.connected = true;
  };
  source.onerror = (status) => {
    live.connected = false;
    if (status === 401) lock();
  };
  source.on('deployment', (data) => {
    const change = JSON.parse(data) as Change;
    for (const name of [...change.changed, ...change.removed]) live.deployed[name] = (live.deployed[name] ?? 0) + 1;
    void refresh();
  });
  source.on('invocation', (data) => {
    const { function: name } = JSON.parse(data) as { function: string };
    live.invoked[name] = (live.invoked[name] ?? 0) + 1;
    soon();
  });
  source.on('lagged', () => void refresh());
}

setInterval(() => (live.now = Date.now()), 5000);
setInterval(() => document.visibilityState === 'visible' && !live.locked && soon(), 60_000);
