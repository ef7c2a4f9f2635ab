"""tests/bench/budgets.py: what is promised: figure, name, unit, goal, worst, divisor for display. worst may be
('floor', factor): a multiple of what the relay needs in the same run."""

BUDGETS = [
    ('idle_tls', 'idle TLS session, roster and presence', 'KB', 18, 20, 1000),
    ('idle_sm', 'idle TLS session that can be resumed, the same otherwise', 'KB', 20, 28, 1000),
    ('idle_plain', 'idle plain session', 'KB', 4, 5, 1000),
    ('chat_tls', 'routed 200-byte chat, TLS both ways', 'µs', 14, ('floor', 2), 1),
    ('chat_plain', 'routed 200-byte chat, plain', 'µs', 11, ('floor', 2), 1),
    ('chat_paced', 'chat over TLS at 10 000/s', 'µs', None, None, 1),
    ('chat_sm', 'chat over TLS at 10 000/s, stream management', 'µs', None, None, 1),
    ('chat_sm_archive', 'chat at 10 000/s, stream management, archive on disk', 'µs', 30, 45, 1),
    ('login', 'login: TLS 1.3, SCRAM, bind, roster, presence', 'µs', 330, 500, 1),
    ('login_fast', 'login with a token in one round trip, the same otherwise', 'µs', None, None, 1),
    ('login_resumed', 'back with a token: TLS, FAST, stream resumed in one round trip', 'µs', 250, 450, 1),
    ('presence', 'presence delivered to a contact, TLS', 'µs', 5, 8, 1),
    ('offline', 'message for somebody away: stored, synced', 'µs', 20, 40, 1),
    ('drain', 'stored message delivered at login', 'µs', None, None, 1),
    ('archive_page', 'page of 50 anywhere in an archive of 1 million messages', 'µs', 60, 200, 1),
    ('archive_contact', 'page of 50 of one contact, of 1 in 100 of the messages', 'µs', None, None, 1),
    ('archive_memory', 'memory that thousands of such pages leave behind', 'KB', None, None, 1000),
    ('durable_max', 'durable messages, most per second (store alone)', '/s', 40000, 20000, 1),
    ('durable_p50', 'durable message, p50 at 10 000/s (store alone)', 'ms', 1.5, None, 1000),
    ('second_loop', 'second loop', '×', 1.8, 1.6, 1),
    ('start_cold', 'start to first login, 1 million accounts and messages, cold', 's', 1, 2, 1),
    ('start_warm', 'the same, database in the page cache', 's', 1, 2, 1),
    ('idle_cpu', 'CPU of 10 000 idle sessions', '%', 1, 1, 1),
    ('flat_sessions', 'chat: 10 000 sessions ÷ 100', '×', 1.2, 1.2, 1),
    ('flat_roster', 'chat: rosters of 1000 ÷ 10', '×', 1.2, 1.2, 1),
    ('flat_accounts', 'chat: 1 000 000 accounts ÷ 1000', '×', 1.2, 1.2, 1),
    ('storm_p99', 'p99 of a chat during a login storm', 'ms', 20, 20, 1000),
    ('reload_ms', 'reload', 'ms', None, None, 1),
    ('hook_empty', 'empty chain of hooks, asked in place', 'ns', None, None, 1),
    ('hook_run_empty', 'empty chain of hooks, run', 'ns', None, None, 1),
    ('hook_ten', 'ten handlers that do nothing, per message', 'ns', 500, 500, 1),
    ('allocations', 'allocations per chat, TLS', '', None, None, 1),
    ('instructions', 'instructions per routed message, without I/O', '', None, None, 1),
    ('instructions_presence', 'instructions per presence delivered, without I/O', '', None, None, 1),
]
MORE_IS_BETTER = {'durable_max', 'second_loop'}


def verdict(figure, value, goal, worst):
    """goal, worst: as displayed; None: nothing is promised."""
    if goal is None or value is None:
        return ''
    sign = -1 if figure in MORE_IS_BETTER else 1
    if sign * value <= sign * goal:
        return 'goal'
    if worst is None:
        return 'missed goal'
    if sign * value <= sign * worst:
        return 'within'
    return 'MISSED'
