// What a new function may begin with: its files, its settings and its triggers.
import type { SamEvent } from '../lib/types.ts';

export interface Blueprint {
  id: 'hello' | 'api' | 'schedule' | 'sqs' | 'fastapi';
  files: Record<string, string>;
  settings?: Record<string, unknown>;
  events?: Record<string, SamEvent>;
}

const HELLO = `import json


def lambda_handler(event, context):
    # TODO implement
    return {
        'statusCode': 200,
        'body': json.dumps('Hello from Lambda!')
    }
`;

const API = `"""A small HTTP API with a SQLite database."""
import json
import os
import sqlite3
from pathlib import Path

# What stands outside of functions runs once per execution environment.
path = Path(__file__).parent / os.environ['DATABASE']
path.parent.mkdir(parents=True, exist_ok=True)
database = sqlite3.connect(path, timeout=5, isolation_level=None)
database.row_factory = sqlite3.Row
database.execute('CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)')


def lambda_handler(event, context):
    method = event['requestContext']['http']['method']
    if method == 'GET':
        rows = database.execute('SELECT id, text FROM notes ORDER BY id').fetchall()
        return answer(200, [dict(row) for row in rows])
    if method == 'POST':
        try:
            text = json.loads(event.get('body') or '{}')['text']
        except (ValueError, KeyError, TypeError):
            return answer(400, {'message': 'send {"text": "..."}'})
        cursor = database.execute('INSERT INTO notes (text) VALUES (?)', (str(text),))
        return answer(201, {'id': cursor.lastrowid, 'text': text})
    return answer(405, {'message': 'this path takes GET and POST'})


def answer(status, body):
    return {
        'statusCode': status,
        'headers': {'content-type': 'application/json'},
        'body': json.dumps(body),
    }
`;

const SCHEDULE = `"""A job that runs on a schedule."""
import logging

logger = logging.getLogger()
logger.setLevel(logging.INFO)


def lambda_handler(event, context):
    logger.info('It is %s', event['time'])
    return {'done': True}
`;

const SQS = `"""Works through messages of a queue; what fails is tried again, alone."""
import json
import logging

logger = logging.getLogger()
logger.setLevel(logging.INFO)


def lambda_handler(event, context):
    failed = []
    for record in event['Records']:
        try:
            work(json.loads(record['body']))
        except Exception:
            logger.exception('message %s failed', record['messageId'])
            failed.append({'itemIdentifier': record['messageId']})
    return {'batchItemFailures': failed}


def work(message):
    logger.info('got %s', message)
`;

const FASTAPI = `"""A FastAPI application behind API Gateway."""
from fastapi import FastAPI
from mangum import Mangum

app = FastAPI()


@app.get('/{path:path}')
def hello(path: str, name: str = 'Lambda'):
    return {'message': f'Hello {name}!', 'path': path}


lambda_handler = Mangum(app, lifespan='off')
`;

export const blueprints: Blueprint[] = [
  { id: 'hello', files: { 'lambda_function.py': HELLO } },
  { id: 'api', files: { 'lambda_function.py': API }, settings: { Timeout: 10, Environment: { Variables: { DATABASE: '../../.handlerd/data/notes.sqlite' } } } },
  { id: 'schedule', files: { 'lambda_function.py': SCHEDULE }, events: { EveryFiveMinutes: { Type: 'Schedule', Properties: { Schedule: 'rate(5 minutes)' } } } },
  { id: 'sqs', files: { 'lambda_function.py': SQS }, settings: { Timeout: 30 }, events: { Jobs: { Type: 'SQS', Properties: { Queue: 'jobs', BatchSize: 10, FunctionResponseTypes: ['ReportBatchItemFailures'] } } } },
  { id: 'fastapi', files: { 'lambda_function.py': FASTAPI, 'requirements.txt': 'fastapi\nmangum\n' }, settings: { Timeout: 10 } },
];
