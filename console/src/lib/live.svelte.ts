// What the gateway tells by itself: the overview of all functions, kept fresh by /_handlerd/changes.
import { watchers } from './api.ts';
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

watchers.push((status) => {
  if (status === 401) live.locked = true;
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

let source: EventSource | undefined;
export function follow(): void {
  source?.close();
  source = new EventSource('/_handlerd/changes');
  source.onopen = () => {
    if (!live.connected) void refresh();
    live.connected = true;
  };
  source.onerror = () => {
    live.connected = false;
    // A refused stream is not tried again by the browser.
    if (source?.readyState === EventSource.CLOSED) setTimeout(follow, 2000);
  };
  source.addEventListener('deployment', (event) => {
    const change = JSON.parse((event as MessageEvent<string>).data) as Change;
    for (const name of [...change.changed, ...change.removed]) live.deployed[name] = (live.deployed[name] ?? 0) + 1;
    void refresh();
  });
  source.addEventListener('invocation', (event) => {
    const { function: name } = JSON.parse((event as MessageEvent<string>).data) as { function: string };
    live.invoked[name] = (live.invoked[name] ?? 0) + 1;
    soon();
  });
  source.addEventListener('lagged', () => void refresh());
}

setInterval(() => (live.now = Date.now()), 5000);
setInterval(() => document.visibilityState === 'visible' && soon(), 60_000);
