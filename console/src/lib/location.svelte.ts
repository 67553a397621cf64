// The current route as state, and the ways to change it.
import { parse } from './router.ts';

export const location = $state({ route: parse(window.location.hash) });

window.addEventListener('hashchange', () => (location.route = parse(window.location.hash)));

export function go(to: string): void {
  window.location.hash = to;
}

/** Without a step for the back button. */
export function swap(to: string): void {
  history.replaceState(null, '', to);
  location.route = parse(to);
}
