// What the mock gateway begins with.
const HELLO = "import json\n\n\ndef lambda_handler(event, context):\n    query = event.get('queryStringParameters') or {}\n    name = query.get('name', 'Lambda')\n    print('<b>hello</b>', name)\n    return {\n        'statusCode': 200,\n        'body': json.dumps(f'Hello from {name}!')\n    }\n";
const ORDERS = "import logging\n\nfrom helpers.money import cents\n\nlogger = logging.getLogger()\nlogger.setLevel(logging.INFO)\n\n\ndef lambda_handler(event, context):\n    logger.info('an order came')\n    return {'statusCode': 200, 'total': cents(event['price'])}\n";

export function begin(add, queue) {
  add('hello', { 'lambda_function.py': HELLO }, { busy: 1, events: { greeting: { queryStringParameters: { name: 'Kim' } } } });
  const orders = add('orders', { 'lambda_function.py': ORDERS, 'helpers/__init__.py': '', 'helpers/money.py': 'def cents(price):\n    return round(float(price) * 100)\n' }, {
    busy: 2, flaky: true,
    triggers: { Nightly: { Type: 'Schedule', Properties: { Schedule: 'rate(5 minutes)' } }, Work: { Type: 'SQS', Properties: { Queue: 'orders', BatchSize: 5 } }, Post: { Type: 'HttpApi', Properties: { Path: '/orders', Method: 'post' } } },
    async: { MaximumRetryAttempts: 2, DestinationConfig: { OnFailure: { Destination: 'arn:aws:sqs:us-east-1:000000000000:failed-orders' } } },
  });
  Object.assign(orders.settings, { Description: 'Takes orders, and fails when you ask for it', Environment: { Variables: { CURRENCY: 'EUR' } } });
  add('resize', { 'lambda_function.py': 'def lambda_handler(event, context)\n    return 1\n' }, { state: 'Broken', reason: "lambda_function.py:1: expected ':'" });
  const now = Date.now();
  queue.push(
    { id: 1, state: 'dead', function: 'orders', qualifier: null, destination: null, requestId: 'c3b1', acceptedAt: now - 7_200_000, dueAt: now - 3_600_000, attempts: 3, error: "KeyError: 'price'" },
    { id: 2, state: 'retrying', function: 'orders', qualifier: null, destination: null, requestId: 'd4c2', acceptedAt: now - 60_000, dueAt: now + 60_000, attempts: 1, error: 'TimeoutError: the shop did not answer' },
    { id: 3, state: 'waiting', function: 'hello', qualifier: null, destination: null, requestId: 'e5d3', acceptedAt: now - 1000, dueAt: now, attempts: 0, error: null },
  );
}
