"""tests/bench/report.py: docs/performance.md and its plots from docs/performance.json. Text that measurements
cannot know (where the cycles go, what was tried) is between the markers `<!-- notes -->` and kept."""
import os

import benchlib as b
from budgets import BUDGETS, verdict

SERVERS = ['grapnel', 'floor', 'prosody', 'ejabberd']
COLOURS = {'grapnel': '#1f6f8b', 'floor': '#b0b0b0', 'prosody': '#d98c3f', 'ejabberd': '#8c5fa8'}
MARK, END = '<!-- notes: kept by the script -->', '<!-- end of notes -->'


def shown(value, unit=''):
    if value is None:
        return '–'
    if abs(value) >= 1000:
        text = f'{value:,.0f}'.replace(',', ' ')
    elif abs(value) >= 100:
        text = f'{value:.0f}'
    else:
        text = f'{value:.1f}' if abs(value) >= 10 else f'{value:.2f}'
    return f'{text} {unit}'.strip()


def rows(results):
    """[(figure, name, unit, value, goal, worst, {server: value}, verdict)] as displayed."""
    out = []
    for figure, name, unit, goal, worst, divisor in BUDGETS:
        def of(server, figure=figure, divisor=divisor):
            value = results.get(server, {}).get(figure)
            return None if value is None else value / divisor
        others = {s: of(s) for s in SERVERS[1:]}
        state = verdict(figure, of('grapnel'), goal, worst, others['floor'])
        bound = worst
        if isinstance(worst, tuple):
            bound = worst[1] * others['floor'] if others['floor'] else None
        out.append((figure, name, unit, of('grapnel'), goal, bound, others, state))
    return out


def print_table(results):
    print(f'\n{"figure":52} {"value":>10} {"goal":>9} {"worst":>9} {"floor":>9} {"prosody":>9} '
          f'{"ejabberd":>9}  verdict')
    for _, name, unit, value, goal, worst, others, state in rows(results):
        print(f'{name + ", " + unit:52.52} {shown(value):>10} {shown(goal):>9} {shown(worst):>9} '
              f'{shown(others["floor"]):>9} {shown(others["prosody"]):>9} '
              f'{shown(others["ejabberd"]):>9}  {state}')


def plot(path, title, unit, values, goal):
    """One horizontal bar per server; the goal as a line."""
    values = [(s, v) for s, v in values if v is not None]
    top = max([v for _, v in values] + [goal or 0]) or 1
    width, left, bar, gap = 640, 90, 22, 8
    height = 40 + len(values) * (bar + gap)
    scale = (width - left - 90) / top
    svg = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           'font-family="sans-serif" font-size="13">',
           f'<rect width="{width}" height="{height}" fill="white"/>',
           f'<text x="8" y="20" font-weight="bold">{title} ({unit})</text>']
    for i, (server, value) in enumerate(values):
        y = 34 + i * (bar + gap)
        svg.append(f'<text x="8" y="{y + 16}">{server}</text>'
                   f'<rect x="{left}" y="{y}" width="{max(value * scale, 1):.1f}" height="{bar}" '
                   f'fill="{COLOURS[server]}"/>'
                   f'<text x="{left + value * scale + 6:.1f}" y="{y + 16}">{shown(value)}</text>')
    if goal:
        x = left + goal * scale
        svg.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="28" y2="{height - 4}" stroke="#c03030" '
                   'stroke-dasharray="4 3"/>')
    with open(path, 'w', encoding='utf-8') as f:
        f.write('\n'.join(svg + ['</svg>']) + '\n')


PLOTS = ['idle_tls', 'chat_tls', 'chat_plain', 'login', 'presence', 'offline']

METHOD = '''## Method

`make bench` runs everything here and rewrites this page; `scripts/bench-peers` adds Debian's Prosody and
ejabberd, with the same load, in the same way. The figures are in [performance.json](performance.json).

* **CPU, not time**: each figure is the process's CPU time (all threads, user and system, from its process
  clock) between two moments, divided by what happened in between. Other work on the machine disturbs that
  little (±10 %), time a lot. Where it is repeated, the median run is shown.
* The server is pinned to one core, one loop; the load engine (`tests/bench/grapnel-load`) to the other. It
  reports its own CPU per unit as well (`load_us`).
* **Floor**: `tests/bench/relay`, an epoll loop with the same OpenSSL settings that moves bytes without looking
  at them, under the same load.
* **Memory** is anonymous memory (`smaps_rollup`), with {sessions} sessions minus without, per session; the kernel's
  socket buffers (about 5 KB per connection) are not in it, for nobody.
* **Chat**: {chatters} sessions in pairs, one 200-byte message in flight per pair, answered when it arrives; all
  shipped modules on. **Login**: accounts without contacts, full handshake, P-256 certificate, X25519. **Presence**: groups of {group}
  mutual contacts. **Offline**: 100 senders, as fast as the server reads, until the server is quiet; the drain then
  finds every message. Peers do not sync.
* **Durable** is the store alone: rows of 300 bytes, each counted when its commit is on disk.
* **Second loop**: the time of the busiest loop per message, against one loop.
* **Peers**: 2000 idle sessions, 20 000 offline messages, ejabberd's presence among 100 sessions (it takes long to
  make contacts); limits and throttles off, roster, presence, offline storage, disco, ping, version, time, last,
  private, vcard and registration on, their own file and Mnesia storage, epoll, STARTTLS.
'''


def write(results):
    docs = os.path.dirname(b.RESULTS)
    path = os.path.join(docs, 'performance.md')
    notes = '\n'
    if os.path.exists(path):
        with open(path, encoding='utf-8') as f:
            text = f.read()
        if MARK in text and END in text:
            notes = text.split(MARK, 1)[1].split(END, 1)[0]
    table = rows(results)
    machine = results.get('machine', {})
    out = ['# Performance', '',
           'What a session, a login and a message cost, next to what they must cost at least. Generated by '
           '`make bench`; only the notes at the end are written by hand.', '',
           f'{machine.get("date", "")}, commit {machine.get("commit", "")}: {machine.get("cpu", "")}, '
           f'{machine.get("cores", "")} cores, Linux {machine.get("kernel", "")}, '
           f'{machine.get("openssl", "")}; load average while measuring {machine.get("load", "")}.', '',
           '| figure | grapnel | goal | at worst | | floor | prosody | ejabberd |',
           '|---|--:|--:|--:|---|--:|--:|--:|']
    for _, name, unit, value, goal, worst, others, state in table:
        bold = '**' if value is not None else ''
        out.append(f'| {name} | {bold}{shown(value, unit)}{bold} | {shown(goal)} | {shown(worst)} | {state} | '
                   + ' | '.join(shown(others[s]) for s in SERVERS[1:]) + ' |')
    flat = results.get('grapnel', {}).get('flat_detail')
    if flat:
        out += ['', '## Flat cost', '', 
                'The same chat over TLS, µs of CPU per message. The two of a pair are measured alike: sessions, 100 '
                'chat and the others are idle; roster, 100 sessions; accounts, 1000 sessions.', '',
                '| ' + ' | '.join(k.replace('_', ' ') for k in flat) + ' |', '|' + '--:|' * len(flat),
                '| ' + ' | '.join(shown(v) for v in flat.values()) + ' |']
    out += ['', '## Plots', '', 'The dashed line is the goal.', '']
    for figure, name, unit, value, goal, _, others, _ in table:
        if figure in PLOTS and value is not None:
            plot(os.path.join(docs, f'performance-{figure}.svg'), name, unit,
                 [('grapnel', value)] + list(others.items()), goal)
            out.append(f'![{name}](performance-{figure}.svg)')
    import suite
    out += ['', METHOD.format(sessions=machine.get('sessions', suite.SESSIONS), chatters=suite.CHATTERS,
                              group=suite.GROUP), MARK + notes + END, '']
    with open(path + '.new', 'w', encoding='utf-8') as f:
        f.write('\n'.join(out))
    os.replace(path + '.new', path)
