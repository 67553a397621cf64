// The code editor. It lives in a shadow root: there its styles are adopted style sheets, which a strict
// content security policy allows, and no style element is ever made.
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands';
import { json } from '@codemirror/lang-json';
import { python } from '@codemirror/lang-python';
import { yaml } from '@codemirror/lang-yaml';
import { HighlightStyle, bracketMatching, foldGutter, foldKeymap, indentOnInput, indentUnit, syntaxHighlighting } from '@codemirror/language';
import { lintGutter, lintKeymap, setDiagnostics, type Diagnostic } from '@codemirror/lint';
import { highlightSelectionMatches, openSearchPanel, search, searchKeymap } from '@codemirror/search';
import { Compartment, EditorState, type Extension } from '@codemirror/state';
import { EditorView, drawSelection, highlightActiveLine, highlightActiveLineGutter, highlightSpecialChars, keymap, lineNumbers } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import type { Mark } from '../lib/types.ts';

export interface Editor {
  show(path: string, text: string): void;
  text(): string;
  mark(marks: Mark[]): void;
  to(line: number): void;
  search(): void;
  label(text: string): void;
  focus(): void;
  destroy(): void;
}

export interface Wishes {
  changed(path: string, text: string): void;
  /** Ctrl+S and Ctrl+Enter. */
  save?(): void;
  run?(): void;
  label: string;
  small?: boolean;
}

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.controlKeyword, tags.definitionKeyword, tags.moduleKeyword], color: 'var(--code-keyword)' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--code-string)' },
  { tag: [tags.number, tags.bool, tags.null], color: 'var(--code-number)' },
  { tag: [tags.comment], color: 'var(--code-comment)', fontStyle: 'italic' },
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: 'var(--code-name)' },
  { tag: [tags.function(tags.definition(tags.variableName)), tags.className, tags.definition(tags.className)], color: 'var(--code-def)', fontWeight: '600' },
  { tag: [tags.meta], color: 'var(--code-number)' },
]);

const look = EditorView.theme({
  '&': { height: '100%', fontSize: '13.5px', color: 'var(--text)', backgroundColor: 'var(--surface)' },
  '&.cm-focused': { outline: '2px solid var(--accent)', outlineOffset: '-2px' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.55' },
  '.cm-content': { caretColor: 'var(--text)' },
  '.cm-cursor, .cm-dropCursor': { borderLeftColor: 'var(--text)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': { backgroundColor: 'color-mix(in srgb, var(--accent) 28%, transparent) !important' },
  '.cm-gutters': { backgroundColor: 'var(--sunken)', color: 'var(--muted)', border: 'none' },
  '.cm-activeLine': { backgroundColor: 'color-mix(in srgb, var(--accent) 6%, transparent)' },
  '.cm-activeLineGutter': { backgroundColor: 'var(--accent-soft)', color: 'var(--text)' },
  '.cm-selectionMatch': { backgroundColor: 'color-mix(in srgb, var(--warn) 25%, transparent)' },
  '.cm-panels': { backgroundColor: 'var(--sunken)', color: 'var(--text)' },
  '.cm-panels button, .cm-button': { backgroundImage: 'none', backgroundColor: 'var(--raised)', color: 'var(--text)', border: '1px solid var(--line-strong)', borderRadius: '5px' },
  '.cm-textfield': { backgroundColor: 'var(--surface)', color: 'var(--text)', border: '1px solid var(--line-strong)', borderRadius: '5px' },
  '.cm-tooltip': { backgroundColor: 'var(--raised)', color: 'var(--text)', border: '1px solid var(--line-strong)' },
  '.cm-tooltip-autocomplete ul li[aria-selected]': { backgroundColor: 'var(--accent)', color: 'var(--accent-text)' },
  '.cm-foldPlaceholder': { backgroundColor: 'var(--sunken)', color: 'var(--muted)', border: '1px solid var(--line)' },
});

function languageOf(path: string): Extension {
  if (path.endsWith('.py')) return [python(), indentUnit.of('    ')];
  if (path.endsWith('.json')) return json();
  if (/\.ya?ml$/.test(path)) return yaml();
  return [];
}

export function create(host: HTMLElement, wishes: Wishes): Editor {
  const root = host.shadowRoot ?? host.attachShadow({ mode: 'open' });
  const states = new Map<string, EditorState>();
  const labels = new Compartment();
  let path = '';
  let silent = false;
  const own = [
    { key: 'Mod-s', preventDefault: true, run: () => (wishes.save?.(), true) },
    { key: 'Mod-Enter', preventDefault: true, run: () => (wishes.run?.(), true) },
  ];
  const extensions = (of: string): Extension => [
    wishes.small ? [] : [lineNumbers(), foldGutter(), lintGutter(), highlightActiveLineGutter()],
    highlightSpecialChars(), history(), drawSelection(), indentOnInput(), bracketMatching(), closeBrackets(), autocompletion(),
    highlightActiveLine(), highlightSelectionMatches(), search({ top: true }), EditorState.tabSize.of(4),
    keymap.of([...own, ...closeBracketsKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap, ...foldKeymap, ...completionKeymap, ...lintKeymap, indentWithTab]),
    languageOf(of), syntaxHighlighting(colours), look, wishes.small ? EditorView.lineWrapping : [],
    labels.of(EditorView.contentAttributes.of({ 'aria-label': wishes.label, tabindex: '0' })),
    EditorView.updateListener.of((update) => {
      if (update.docChanged && !silent) wishes.changed(path, update.state.doc.toString());
    }),
  ];
  const view = new EditorView({ parent: root as unknown as HTMLElement, root });

  return {
    show(wanted, text) {
      if (path !== '') states.set(path, view.state);
      const kept = wanted === path ? view.state : states.get(wanted);
      silent = true;
      if (kept && kept.doc.toString() === text) {
        if (wanted !== path) view.setState(kept);
      } else view.setState(EditorState.create({ doc: text, extensions: extensions(wanted) }));
      silent = false;
      path = wanted;
      view.requestMeasure();
    },
    text: () => view.state.doc.toString(),
    mark(marks) {
      const doc = view.state.doc;
      const at = (line: number, column: number) => {
        const found = doc.line(Math.min(Math.max(1, line), doc.lines));
        return Math.min(found.from + Math.max(0, column - 1), found.to);
      };
      const diagnostics: Diagnostic[] = marks.map((mark) => {
        const found = doc.line(Math.min(Math.max(1, mark.line), doc.lines));
        // At the end of a line the character before it is marked: there would be nothing to see otherwise.
        const from = Math.max(found.from, Math.min(at(mark.line, mark.column), found.to - 1));
        return { from, to: Math.max(Math.min(from + 1, doc.length), at(mark.end_line || mark.line, mark.end_column || mark.column + 1)), severity: mark.severity, message: mark.message };
      });
      view.dispatch(setDiagnostics(view.state, diagnostics));
    },
    to(line) {
      const found = view.state.doc.line(Math.min(Math.max(1, line), view.state.doc.lines));
      view.dispatch({ selection: { anchor: found.from, head: found.to }, effects: EditorView.scrollIntoView(found.from, { y: 'center' }) });
      view.focus();
    },
    search: () => void openSearchPanel(view),
    label: (text) => view.dispatch({ effects: labels.reconfigure(EditorView.contentAttributes.of({ 'aria-label': text, tabindex: '0' })) }),
    focus: () => view.focus(),
    destroy: () => view.destroy(),
  };
}
