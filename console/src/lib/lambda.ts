// The public Lambda API, as far as the console uses it: everything here boto3 can do too.
import { ApiError, json, maybe, name as part, send } from './api.ts';
import { base64 } from './bytes.ts';
import type { Alias, AsyncConfig, Configuration, Statement } from './types.ts';

const at = (date: string, fn: string, tail = '') => `/${date}/functions/${part(fn)}${tail}`;

/** One update at a time, as on AWS: whoever comes while another is settling waits for it. */
async function settled<T>(ask: () => Promise<T>): Promise<T> {
  for (let left = 40; ; left--) {
    try {
      return await ask();
    } catch (error) {
      const busy = error instanceof ApiError && error.type === 'ResourceConflictException' && error.message.includes('in progress');
      if (!busy || left === 0) throw error;
      await new Promise((done) => setTimeout(done, 250));
    }
  }
}

export const getConfiguration = (fn: string, Qualifier?: string) =>
  json<Configuration>('GET', at('2015-03-31', fn, '/configuration'), { query: { Qualifier } });
export const createFunction = (body: Record<string, unknown>) => json<Configuration>('POST', '/2015-03-31/functions', { json: body });
export const deleteFunction = (fn: string) => send('DELETE', at('2015-03-31', fn));
export const updateCode = (fn: string, zip: Uint8Array, RevisionId?: string) =>
  settled(() => json<Configuration>('PUT', at('2015-03-31', fn, '/code'), { json: { ZipFile: base64(zip), RevisionId } }));
export const updateConfiguration = (fn: string, changes: Record<string, unknown>) =>
  settled(() => json<Configuration>('PUT', at('2015-03-31', fn, '/configuration'), { json: changes }));

export interface Answer { requestId: string; functionError: boolean; payload: string; log: string; ms: number; version: string }

export async function invoke(fn: string, event: string, Qualifier?: string): Promise<Answer> {
  const began = performance.now();
  const response = await send('POST', at('2015-03-31', fn, '/invocations'), {
    body: event, query: { Qualifier }, headers: { 'x-amz-log-type': 'Tail', 'content-type': 'application/json' },
  });
  const payload = await response.text();
  const tail = response.headers.get('x-amz-log-result');
  return {
    requestId: response.headers.get('x-amzn-requestid') ?? '',
    functionError: response.headers.has('x-amz-function-error'),
    payload,
    log: tail ? new TextDecoder().decode(Uint8Array.from(atob(tail), (c) => c.charCodeAt(0))) : '',
    ms: performance.now() - began,
    version: response.headers.get('x-amz-executed-version') ?? '',
  };
}

export const getUrl = (fn: string) => maybe(json<{ FunctionUrl: string; AuthType: string }>('GET', at('2021-10-31', fn, '/url')));
export const createUrl = (fn: string, body: object) => json<{ FunctionUrl: string }>('POST', at('2021-10-31', fn, '/url'), { json: body });
export const deleteUrl = (fn: string, Qualifier?: string) => send('DELETE', at('2021-10-31', fn, '/url'), { query: { Qualifier } });
export const deleteMapping = (uuid: string) => send('DELETE', `/2015-03-31/event-source-mappings/${part(uuid)}`);

export const getAsync = (fn: string) => maybe(json<AsyncConfig>('GET', at('2019-09-25', fn, '/event-invoke-config')));
export const putAsync = (fn: string, body: AsyncConfig) => json<AsyncConfig>('PUT', at('2019-09-25', fn, '/event-invoke-config'), { json: body });
export const getReserved = (fn: string) =>
  json<{ ReservedConcurrentExecutions?: number }>('GET', at('2019-09-30', fn, '/concurrency'));
export const putReserved = (fn: string, count: number) =>
  json('PUT', at('2017-10-31', fn, '/concurrency'), { json: { ReservedConcurrentExecutions: count } });
export const deleteReserved = (fn: string) => send('DELETE', at('2017-10-31', fn, '/concurrency'));

export const listVersions = async (fn: string) =>
  (await json<{ Versions: Configuration[] }>('GET', at('2015-03-31', fn, '/versions'))).Versions;
export const publishVersion = (fn: string, Description: string) =>
  settled(() => json<Configuration>('POST', at('2015-03-31', fn, '/versions'), { json: { Description } }));
export const listAliases = async (fn: string) => (await json<{ Aliases: Alias[] }>('GET', at('2015-03-31', fn, '/aliases'))).Aliases;
export const createAlias = (fn: string, body: object) => json<Alias>('POST', at('2015-03-31', fn, '/aliases'), { json: body });
export const updateAlias = (fn: string, alias: string, body: object) =>
  json<Alias>('PUT', at('2015-03-31', fn, `/aliases/${part(alias)}`), { json: body });
export const deleteAlias = (fn: string, alias: string) => send('DELETE', at('2015-03-31', fn, `/aliases/${part(alias)}`));

export async function getPolicy(fn: string): Promise<Statement[]> {
  const told = await maybe(json<{ Policy: string }>('GET', at('2015-03-31', fn, '/policy')));
  return told ? JSON.parse(told.Policy).Statement : [];
}
export const addPermission = (fn: string, body: object) => json('POST', at('2015-03-31', fn, '/policy'), { json: body });
export const removePermission = (fn: string, sid: string) => send('DELETE', at('2015-03-31', fn, `/policy/${part(sid)}`));

const tagsAt = (arn: string) => `/2017-03-31/tags/${part(arn)}`;
export const listTags = async (arn: string) => (await json<{ Tags: Record<string, string> }>('GET', tagsAt(arn))).Tags ?? {};
export const tag = (arn: string, Tags: Record<string, string>) => send('POST', tagsAt(arn), { json: { Tags } });
export const untag = (arn: string, key: string) => send('DELETE', tagsAt(arn), { query: { tagKeys: key } });
export const listLayers = async () =>
  (await json<{ Layers: { LayerName: string; LatestMatchingVersion: { LayerVersionArn: string } }[] }>('GET', '/2018-10-31/layers')).Layers;
