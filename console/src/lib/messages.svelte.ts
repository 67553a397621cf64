// Short messages at the edge of the page, and errors in words.
import { t } from '../i18n/index.ts';
import { ApiError } from './api.ts';

export interface Message { id: number; kind: 'ok' | 'bad'; text: string; href?: string }
export const messages = $state<{ list: Message[] }>({ list: [] });
let next = 0;

export function say(text: string, kind: 'ok' | 'bad' = 'ok', href?: string): void {
  const id = next++;
  // Said once, however often it happens.
  messages.list = [...messages.list.filter((one) => one.text !== text).slice(-3), { id, kind, text, href }];
  setTimeout(() => dismiss(id), kind === 'ok' ? 4000 : 12_000);
}
export const dismiss = (id: number) => (messages.list = messages.list.filter((message) => message.id !== id));

/** What happened and what to do. */
export function words(error: unknown): string {
  if (!(error instanceof ApiError)) return error instanceof Error ? error.message : String(error);
  if (error.status === 0) return t('error.unreachable');
  const hint = error.hint || (error.status === 404 ? t('error.404') : error.status === 412 ? t('error.412') : error.status === 429 ? t('error.429') : error.status >= 500 ? t('error.500') : '');
  return [error.message || `HTTP ${error.status}`, hint].filter(Boolean).join(' ');
}
export const complain = (error: unknown) => say(words(error), 'bad');
