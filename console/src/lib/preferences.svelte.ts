// Language and theme: chosen by the browser until the user chooses, then remembered.
export type Language = 'en' | 'ko';
export type Theme = 'light' | 'dark';

function kept(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}
function keep(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Without storage the choice holds until the page is closed.
  }
}

const dark = window.matchMedia('(prefers-color-scheme: dark)');
const chosen = kept('handlerd.theme') as Theme | null;

export const preferences = $state({
  language: (kept('handlerd.language') ?? (navigator.language.startsWith('ko') ? 'ko' : 'en')) as Language,
  theme: (chosen ?? (dark.matches ? 'dark' : 'light')) as Theme,
});

function show(): void {
  document.documentElement.dataset.theme = preferences.theme;
  document.documentElement.lang = preferences.language;
}
dark.addEventListener('change', () => {
  if (!kept('handlerd.theme')) preferences.theme = dark.matches ? 'dark' : 'light';
  show();
});
show();

export function setLanguage(language: Language): void {
  preferences.language = language;
  keep('handlerd.language', language);
  show();
}
export function setTheme(theme: Theme): void {
  preferences.theme = theme;
  keep('handlerd.theme', theme);
  show();
}
