// `t('key')`: a text in the chosen language. The values of `{name}` are put in as text.
import { preferences } from '../lib/preferences.svelte.ts';
import { en } from './en.ts';
import { ko } from './ko.ts';

export type Key = keyof typeof en;
const dictionaries: Record<string, Record<Key, string>> = { en, ko };

export function t(key: Key, values: Record<string, string | number> = {}): string {
  const text = dictionaries[preferences.language]![key] ?? en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}
