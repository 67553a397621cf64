// Times for people: how long ago, how long it took, when it is due.
type Step = [Intl.RelativeTimeFormatUnit, number];
const STEPS: Step[] = [['year', 31_536_000], ['month', 2_592_000], ['day', 86_400], ['hour', 3600], ['minute', 60], ['second', 1]];

export function relative(then_ms: number, now_ms: number, language: string): string {
  if (!Number.isFinite(then_ms)) return '–';
  const exact = Math.round((then_ms - now_ms) / 1000);
  // The page's clock ticks every five seconds: what has just happened is not in the future.
  const seconds = exact > 0 && exact < 6 ? 0 : exact;
  const [unit, length] = STEPS.find(([, length]) => Math.abs(seconds) >= length) ?? ['second', 1];
  return new Intl.RelativeTimeFormat(language, { numeric: 'auto' }).format(Math.trunc(seconds / length), unit as Intl.RelativeTimeFormatUnit);
}

export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return '–';
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 10_000) return `${Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(1)} s`;
}

export const moment = (at: number | string, language: string) =>
  new Date(at).toLocaleString(language, { dateStyle: 'medium', timeStyle: 'short' });
export const clock = (at: number | string) => {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? String(at) : date.toLocaleTimeString('en-GB') + '.' + String(date.getMilliseconds()).padStart(3, '0');
};
