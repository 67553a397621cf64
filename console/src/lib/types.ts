// The shapes that the gateway answers with, in the words of docs/console-api.md and of the Lambda API.
export interface Minute { t_ms: number; invocations: number; errors: number; p50_ms: number | null }
export interface Address { url: string; method: string; what: string }
export interface Listed {
  name: string; state: 'Active' | 'Pending' | 'Broken' | 'Failed'; reason?: string; runtime: string; last_modified: string;
  source: 'handlers' | 'template'; description: string; urls: Address[]; minutes: Minute[];
}
export interface Problem { severity: string; path: string; line: number; text: string }
export interface Overview {
  version: string; account_id: string; region: string; http_url: string; template: boolean; handlers: string | null;
  interpreter: string; functions: Listed[]; problems: Problem[]; isolation: Isolation | null;
}
// What keeps handlers in; null before any has run.
export interface Isolation { tier: number; parts: string[]; missing: { part: string; tier: number; why: string }[] }
export interface Configuration {
  FunctionName: string; FunctionArn: string; Runtime: string; Handler: string; CodeSha256: string; CodeSize: number;
  Description: string; MemorySize: number; Timeout: number; LastModified: string; RevisionId: string; State?: string;
  StateReason?: string; LastUpdateStatus?: string; LastUpdateStatusReason?: string; Version: string;
  Environment?: { Variables: Record<string, string> }; Layers?: { Arn: string }[];
  LoggingConfig?: { LogFormat: string; ApplicationLogLevel?: string };
}
export interface FileEntry { path: string; size: number; binary: boolean }
export interface Files { revision: string; files: FileEntry[] }
export interface Mark { line: number; column: number; end_line: number; end_column: number; message: string; severity: 'error' | 'warning' | 'info' }
export interface Sample { name: string; title: string; event: unknown }
export interface Invocation {
  request_id: string; time_ms: number; trigger: string; qualifier: string; ok: boolean; error_type?: string;
  duration_ms: number; billed_ms: number; max_memory_mb: number; init_ms?: number; cold: boolean;
}
export interface InvocationDetail extends Invocation { event: unknown; result: unknown; log: string; truncated?: boolean }
export type TriggerKind = 'http' | 'url' | 'schedule' | 'sqs' | 's3' | 'sns' | 'rule' | 'stream';
export interface SamEvent { Type: string; Properties: Record<string, unknown> }
export interface Trigger {
  id: string; kind: TriggerKind; title: string; detail: string; url?: string; enabled: boolean; next?: string[];
  editable: boolean; source?: { path: string; line: number }; event?: SamEvent;
}
export type Expression = { valid: true; next: string[]; text?: string } | { valid: false; message: string };
export interface LogRecord { function: string; time: string; request_id: string; level: string; text: string }
export interface Metrics {
  step_s: number; t_ms: number[]; invocations: number[]; errors: number[]; throttles: number[]; cold_starts: number[];
  concurrency: number[]; p50_ms: (number | null)[]; p90_ms: (number | null)[]; p99_ms: (number | null)[];
}
export interface QueueEvent {
  id: number; state: 'waiting' | 'running' | 'retrying' | 'dead'; function: string; qualifier: string | null; destination: string | null;
  requestId: string; acceptedAt: number; dueAt: number; attempts: number; error: string | null; body?: string;
}
export interface Queue { now: number; lanes: unknown[]; events: QueueEvent[] }
export interface Runtime { runtime: string; version: string; default: boolean }
export interface Alias { Name: string; FunctionVersion: string; Description: string; RevisionId: string; RoutingConfig?: { AdditionalVersionWeights: Record<string, number> } }
export interface AsyncConfig {
  MaximumRetryAttempts?: number; MaximumEventAgeInSeconds?: number;
  DestinationConfig?: { OnSuccess?: { Destination?: string }; OnFailure?: { Destination?: string } };
}
export interface Statement { Sid: string; Effect: string; Principal: unknown; Action: string; Resource: string }
