#!/usr/bin/python3
"""tests/crash/figures.py LOG ...: what the crash tests found, as the table of docs/reliability.md:

    make test-crash && tests/crash/figures.py build/test-logs/crash-test_crash@*.log"""
import json
import sys
from collections import Counter

WRONG = ('lost', 'corrupt', 'reordered_live', 'reordered_stored')
ROWS = [
    ('deaths', lambda c: c['cycles']),
    ('messages acknowledged', lambda c: c['messages_acked']),
    ('… lost, corrupt, out of order', lambda c: sum(
        c['messages'].get(k, 0) for k in WRONG)),
    ('… in the archive only', lambda c: c.get('weak', 0)),
    ('… twice without a reason', lambda c: c['messages'].get('twice_in_a_session', 0)),
    ('came again: their client had not acknowledged', lambda c: c['messages'].get('denied', 0)),
    ('came again: the same, once more from the store', lambda c: c['messages'].get('handed', 0)),
    ('came again: their sender had no acknowledgement', lambda c: c['messages'].get('resent', 0)),
    ('came again: a client without XEP-0198', lambda c: c['messages'].get('again', 0)),
    ('roster changes and requests', lambda c: sum(c['acked'].get(k, 0)
                                                  for k in ('item', 'ask', 'wish'))),
    ('vCards', lambda c: c['acked'].get('vcard', 0)),
    ('private data', lambda c: c['acked'].get('private', 0)),
    ('accounts and passwords', lambda c: c['acked'].get('account', 0)),
    ('… of all four, wrong', lambda c: c['state_wrong']),
    ('archived messages read', lambda c: c.get('archive', {}).get('rows', 0)),
    ('… lost, not stable, or more often than sent', lambda c: c.get('archive', {}).get('wrong', 0)),
    ('… twice, as their sender sent them twice', lambda c: c.get('archive', {}).get('twice', 0)),
    ('sessions that had to be resumed', lambda c: c.get('sm', {}).get('sessions', 0)),
    ('… not resumed', lambda c: c.get('sm', {}).get('sessions', 0) -
     c.get('sm', {}).get('resumed', 0) - c.get('sm', {}).get('too_young', 0)),
    ('… not resumed, nothing acknowledged yet', lambda c: c.get('sm', {}).get('too_young', 0)),
    ('… seen to go', lambda c: c.get('sm', {}).get('flaps', 0)),
    ('… unacknowledged and forgotten', lambda c: c.get('sm', {}).get('forgotten', 0)),
]


def cases(paths):
    for path in paths:
        with open(path, encoding='utf-8') as f:
            for line in f:
                if line.startswith('# {"case"'):
                    case = json.loads(line[2:])
                    if not case['case'].startswith('control'):
                        yield case


def main():
    kinds, sums, slowest = {}, Counter(), Counter()
    for case in cases(sys.argv[1:]):
        kinds[case['case']] = kinds.get(case['case'], []) + [case['seed']]
        for name, figure in ROWS:
            sums[name, case['case']] += figure(case)
        for what in ('start_s', 'stop_s'):
            slowest[what, case['case']] = max(slowest[what, case['case']],
                                              case.get(what, {}).get('max', 0))
    print('| | ' + ' | '.join(k.upper() for k in kinds) + ' | all |')
    print('|---|' + '---|' * (len(kinds) + 1))
    for name, _ in ROWS:
        values = [sums[name, k] for k in kinds]
        print(f'| {name} | ' + ' | '.join(f'{v:,}'.replace(',', ' ')
                                          for v in (*values, sum(values))) + ' |')
    for name, what in (('slowest start, s', 'start_s'), ('slowest stop, s', 'stop_s')):
        values = [slowest[what, k] for k in kinds]
        print(f'| {name} | ' + ' | '.join(f'{v:.2f}' if v else '–'
                                          for v in (*values, max(values))) + ' |')
    for k, seeds in kinds.items():
        print(f'<!-- seeds of {k}: {" ".join(seeds)} -->')


main()
