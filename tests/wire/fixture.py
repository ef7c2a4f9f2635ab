"""tests/wire/fixture.py: server.py for tests in other languages: one JSON array per line on the input,
[method, arguments...]; one JSON object per line back: {"value": ...} or {"error": ...}. The end of
the input stops the server.

    ["new", {"modules": ["roster"]}]   ["start"]   ["add_user", "a@localhost", "secret"]"""
import json
import sys

from server import HOST, TIMEOUT, Server, certificate


def call(state, method, *arguments):
    if method == 'new':
        state['server'] = Server(**(arguments[0] if arguments else {}))
        return {'host': HOST, 'timeout': TIMEOUT, 'certificate': certificate(HOST) + '.crt'}
    server = state['server']
    named = arguments[-1] if arguments and isinstance(arguments[-1], dict) else {}
    value = getattr(server, method)(*(arguments[:-1] if named else arguments), **named)
    if value is server or method == 'start':
        return {'port': server.port}
    return value


def main():
    state = {}
    for line in sys.stdin:
        try:
            answer = {'value': call(state, *json.loads(line))}
        except Exception as e:                         # the test decides what it means
            answer = {'error': f'{type(e).__name__}: {e}'}
        print(json.dumps(answer), flush=True)
    if 'server' in state:
        state['server'].stop()


main()
