// The files of one function in the editor: what is deployed, what has been changed here, and the deployment.
import { SvelteMap } from 'svelte/reactivity';
import { ApiError } from './api.ts';
import * as lambda from './lambda.ts';
import type { FileEntry, Mark } from './types.ts';
import * as views from './views.ts';
import { apply, type Edits } from './zip.ts';

export interface Conflict { revision: string; paths: { path: string; disk: string | null; mine: string | null }[] }

export class Workspace {
  revision = $state('');
  files = $state<FileEntry[]>([]);
  /** Texts as deployed, of the files that were opened. */
  base = new SvelteMap<string, string>();
  /** What differs here: a text, or null for a deleted file. */
  edits = new SvelteMap<string, string | null>();
  marks = new SvelteMap<string, Mark[]>();
  open = $state<string[]>([]);
  selected = $state('');
  loading = $state(true);
  deploying = $state(false);
  error = $state<unknown>(undefined);
  conflict = $state<Conflict | undefined>(undefined);

  constructor(readonly name: string) {}

  get dirty(): boolean {
    return this.edits.size > 0;
  }

  get paths(): string[] {
    const known = new Set(this.files.map((file) => file.path));
    for (const [path, text] of this.edits) {
      if (text === null) known.delete(path);
      else known.add(path);
    }
    return [...known].sort();
  }

  text(path: string): string | undefined {
    const edited = this.edits.get(path);
    return edited === undefined || edited === null ? this.base.get(path) : edited;
  }

  binary(path: string): boolean {
    return this.files.find((file) => file.path === path)?.binary ?? false;
  }

  async load(): Promise<void> {
    try {
      const told = await views.files(this.name);
      this.revision = told.revision;
      this.files = told.files;
      this.error = undefined;
      this.base.clear();
      const wanted = this.selected && this.paths.includes(this.selected) ? this.selected : this.first();
      this.open = this.open.filter((path) => this.paths.includes(path));
      await Promise.all(this.open.map((path) => this.fetch(path)));
      if (wanted) await this.show(wanted);
    } catch (error) {
      this.error = error;
    }
    this.loading = false;
  }

  private first(): string | undefined {
    return this.paths.find((path) => path === 'lambda_function.py') ?? this.paths.find((path) => path.endsWith('.py')) ?? this.paths[0];
  }

  private async fetch(path: string): Promise<void> {
    if (this.base.has(path) || this.binary(path) || !this.files.some((file) => file.path === path)) return;
    this.base.set(path, (await views.file(this.name, path)).text);
  }

  async show(path: string): Promise<void> {
    try {
      await this.fetch(path);
      if (!this.open.includes(path)) this.open = [...this.open, path];
      this.selected = path;
    } catch (error) {
      this.error = error;
    }
  }

  close(path: string): void {
    const at = this.open.indexOf(path);
    this.open = this.open.filter((other) => other !== path);
    if (this.selected === path) this.selected = this.open[Math.max(0, at - 1)] ?? '';
  }

  write(path: string, text: string): void {
    if (this.base.get(path) === text && this.files.some((file) => file.path === path)) this.edits.delete(path);
    else this.edits.set(path, text);
  }

  async create(path: string): Promise<void> {
    this.edits.set(path, '');
    await this.show(path);
  }

  remove(path: string): void {
    if (this.files.some((file) => file.path === path)) this.edits.set(path, null);
    else this.edits.delete(path);
    this.marks.delete(path);
    this.close(path);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.fetch(from);
    const text = this.text(from) ?? '';
    this.remove(from);
    this.write(to, text);
    await this.show(to);
  }

  discard(): void {
    this.edits.clear();
    this.marks.clear();
    this.open = this.open.filter((path) => this.paths.includes(path));
    if (!this.open.includes(this.selected)) this.selected = this.open[0] ?? '';
  }

  /** Something was deployed. Without edits the new files are shown; with edits both are offered. */
  async changed(): Promise<void> {
    if (this.deploying) return;
    try {
      const told = await views.files(this.name);
      if (told.revision === this.revision) return;
      if (this.dirty) await this.disagree();
      else await this.load();
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) this.error = error;
    }
  }

  private async disagree(): Promise<void> {
    const told = await views.files(this.name);
    const there = new Set(told.files.map((file) => file.path));
    const paths = await Promise.all(
      [...this.edits].map(async ([path, mine]) => ({ path, mine, disk: there.has(path) ? (await views.file(this.name, path)).text : null })),
    );
    this.conflict = { revision: told.revision, paths };
  }

  async takeDisk(): Promise<void> {
    this.conflict = undefined;
    this.edits.clear();
    await this.load();
  }

  /** The edits stay, on top of what is on disk now. */
  async keepMine(): Promise<void> {
    this.conflict = undefined;
    await this.load();
  }

  /** True if it is deployed; false if there is a conflict to be settled. */
  async deploy(): Promise<boolean> {
    this.deploying = true;
    try {
      const edits: Edits = new Map(this.edits);
      const before = await lambda.getConfiguration(this.name);
      const deployed = await views.download(this.name);
      if (deployed.revision !== this.revision) {
        await this.disagree();
        return false;
      }
      const zip = apply(deployed.zip, edits);
      let told;
      try {
        told = await lambda.updateCode(this.name, zip, before.RevisionId);
      } catch (error) {
        if (!(error instanceof ApiError && error.status === 412)) throw error;
        // The revision also changes with the state alone: only other code is a conflict.
        const now = await lambda.getConfiguration(this.name);
        if (now.CodeSha256 !== before.CodeSha256) {
          await this.disagree();
          return false;
        }
        told = await lambda.updateCode(this.name, zip, now.RevisionId);
      }
      for (let wait = 20; told.LastUpdateStatus === 'InProgress' && wait < 2000; wait *= 1.6) {
        await new Promise((resolve) => setTimeout(resolve, wait));
        told = await lambda.getConfiguration(this.name);
      }
      // What was typed meanwhile stays an edit.
      for (const [path, text] of edits) if (this.edits.get(path) === text) this.edits.delete(path);
      await this.load();
      if (told.LastUpdateStatus === 'Failed') throw new ApiError(told.LastUpdateStatusReason ?? told.StateReason ?? '', 400);
      return true;
    } finally {
      this.deploying = false;
    }
  }
}

const known = new Map<string, Workspace>();
export function workspace(name: string): Workspace {
  let found = known.get(name);
  if (!found) known.set(name, (found = new Workspace(name)));
  return found;
}

window.addEventListener('beforeunload', (event) => {
  if ([...known.values()].some((one) => one.dirty)) event.preventDefault();
});
