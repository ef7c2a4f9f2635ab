"""tests/bench/report.py: docs/performance.md and its plots from docs/performance.json. Text that measurements
cannot know (where the cycles go, what was tried) is between two markers, MARK and END, and kept."""
import os

import benchlib as b
import suite
from budgets import BUDGETS, verdict

SERVERS = ['grapnel', 'floor', 'prosody', 'ejabberd']
COLOURS = {'grapnel': '#1f6f8b', 'floor': '#b0b0b0', 'prosody': '#d98c3f', 'ejabberd': '#8c5fa8'}
OLD = ' †'
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


class Row:
    """One budget as displayed. values: {server: value}; old: servers whose value is of an earlier run."""

    def __init__(self, data, budget):
        self.figure, self.name, self.unit, self.goal, worst, divisor = budget
        entries = {s: data.get('servers', {}).get(s, {}).get(self.figure) for s in SERVERS}
        self.values = {s: None if not e or e['value'] is None else e['value'] / divisor for s, e in entries.items()}
        self.old = {s for s, e in entries.items() if e and e['run'] != data.get('last')}
        self.failed = {s for s, e in entries.items() if e and e.get('failed')}
        ours = entries['grapnel'] or {}
        self.spread, self.dropped = ours.get('spread'), ours.get('dropped')
        floor = self.values['floor']
        self.worst = worst
        if isinstance(worst, tuple):
            self.worst = worst[1] * floor if floor else None
        self.state = ('failed' if 'grapnel' in self.failed else
                      verdict(self.figure, self.values['grapnel'], self.goal, self.worst))

    def cell(self, server, unit=''):
        if server in self.failed:
            return 'failed'
        return shown(self.values[server], unit) + (OLD if server in self.old else '')

    def spread_text(self):
        parts = [] if self.spread is None else [f'{100 * self.spread:.0f} %']
        return ', '.join(parts + ([f'{self.dropped} failed'] if self.dropped else []))


def rows(data):
    return [Row(data, budget) for budget in BUDGETS]


def print_table(data):
    print(f'\n{"figure":58} {"value":>10} {"spread":>6} {"goal":>9} {"worst":>9} {"floor":>9} {"prosody":>9} '
          f'{"ejabberd":>9}  verdict')
    for row in rows(data):
        print(f'{row.name + ", " + row.unit:58.58} {row.cell("grapnel"):>10} {row.spread_text():>6} '
              f'{shown(row.goal):>9} {shown(row.worst):>9} '
              + ' '.join(f'{row.cell(s):>9}' for s in SERVERS[1:]) + f'  {row.state}')
    for line in older(data):
        print(line)


def older(data):
    """Which figures are not of the last run."""
    out = []
    for run in sorted(data.get('runs', {})):
        if run == data['last']:
            continue
        parts = []
        for server in SERVERS:
            mine = data.get('servers', {}).get(server, {})
            names = [row[0] for row in BUDGETS if mine.get(row[0], {}).get('run') == run]
            parts += [f'{server} ({", ".join(names)})'] if names else []
        if parts:
            out.append(f'{OLD} of an earlier run, {run}: ' + '; '.join(parts))
    return out


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


PLOTS = ['idle_tls', 'idle_sm', 'chat_tls', 'chat_plain', 'chat_sm_archive', 'login', 'presence', 'offline']

METHOD = '''## Method

`make bench` runs everything here and rewrites this page; `scripts/bench-peers` adds Debian's Prosody and
ejabberd, with the same load, in the same way. The figures are in [performance.json](performance.json), each with
the run that measured it; a run of some parts only (`scripts/bench --only`) leaves the others as they were, marked †.

* **CPU, not time**: each figure is the process's CPU time (all threads, user and system, from its process
  clock) between two moments, divided by what happened in between. Other work on the machine disturbs that
  less than time, and only ever upwards: repeats go round the servers (peers: two), the lowest of each is shown, and the
  spread: how far the highest is above the lowest. Single runs, without a spread: idle, reload, allocations and
  instructions; offline and drain, when one round of them takes more than 20 s.
* A repeat that loses, repeats or refuses anything is dropped, and the spread says how many; "failed": none was left.
* The server is pinned to one core, one loop; the load engine (`tests/bench/grapnel-load`) to the other. It
  reports its own CPU per unit as well (`load_us`).
* **Floor**: `tests/bench/relay`, an epoll loop with the same OpenSSL settings and kept record buffers that moves bytes
  without looking at them, under the same load: one read per message and one write per recipient, a presence to its sender as
  well, about as many events per wake-up as the server has (chat: 183 and 228). Floor of the durable p50: what
  the disk alone takes for such a commit: the median of writing 16 KB, `fdatasync` and a small synced write, in the
  same process before it begins.
* **Memory** is anonymous memory (`smaps_rollup`), with {sessions} sessions minus without, per session; the kernel's
  socket buffers (about 5 KB per connection) are not in it, for nobody.
* **Modules**: those that are on in `config/grapnel.ini`, but for the archive (mod_mam), which only the rows that name
  it have.
* **Chat**: {chatters} sessions in pairs, one {body}-byte message in flight per pair, answered when it arrives; clients
  that have asked for nothing but roster and presence.
* **Chat at {rate}/s**: the same sessions at a rate, so that a wake-up finds less to do than above: without more; with
  stream management (XEP-0198; sessions that can be resumed, both sides ask what the other has got, the client
  at every eighth message); and with the archive as well, which keeps two copies of each message on disk, the
  committing thread's CPU included. The peers cannot carry this rate on one core: they run the closed loop, as
  fast as they can, with mod_smacks and mod_mam (Prosody, its file store) and with mod_stream_mgmt and mod_mam
  (`default: always`; ejabberd, Mnesia), neither of which waits for the disk. CPU per message is what is compared.
  A run does not count when the rate was missed or the archives grew by less than twice the text of the messages.
* **Sessions that can be resumed**: stream management with `resume`, no stanzas outstanding.
* **Login**: accounts without contacts, full handshake, P-256 certificate, X25519. **With a token**: XEP-0484 in one
  round trip. **Back with a token**: clients whose connections were cut return with TLS, token and `<resume/>` in one
  flight; they offer the TLS session of before (`tls_resumed` in the figures: how many were taken).
* **Presence**: groups of {group} mutual contacts. **Offline**: {messages} messages of 100 senders to {away} accounts, as
  fast as the server reads, until it is quiet; peers do not sync. **Drain**: these accounts
  log in and get every message once: the CPU of that, less that of the same logins without messages, per message.
* **Pages of an archive** (`make bench-archive`): {archived} messages to 100 contacts in one account, on disk and in
  the page cache; pages of 50 at the start, the middle (by index and behind an id) and the end; of one contact, at the start
  and the end: in turns, the dearest of these places is shown. CPU of all threads, without sockets, up to the text
  for the client. The row below them: anonymous memory after all these pages, less that before the first.
* **Durable** is the store alone: rows of 300 bytes, each counted when its commit is on disk. The p50 is time, not CPU:
  on a busy machine it is mostly waiting for a core.
* **Second loop**: CPU per message of one loop against that of the busier of two, both overloaded, in turns, the
  lowest of each. The load engine shares the two cores with the two loops, so what these carry at most cannot be
  measured here; above 2 is noise.
* **Start**: from exec until a client is logged in (SCRAM, roster, presence); cold: after dropping the page cache,
  programs and libraries included.
* **Hooks** (`make bench-hooks`) and **instructions** (`tests/bench/callgrind.sh`, also in `make test`, which fails when
  they rise by more than 10 %) are measured in the core without sockets.
* **Peers**: 2000 idle sessions, ejabberd's presence among 100 sessions (it takes long to make contacts); limits and
  throttles off, roster, presence, offline storage, disco, ping, version, time, last, private, vcard and registration
  on and nothing that can be switched off besides (but in the rows with stream management and archive), their own file
  and Mnesia storage, epoll, STARTTLS.
'''


def introduction(run):
    others = run.get('others_percent')
    return (f'{run.get("date", "")}, commit {run.get("commit", "")}: {run.get("cpu", "")}, '
            f'{run.get("cores", "")} cores, Linux {run.get("kernel", "")}, {run.get("openssl", "")}; '
            f'each measurement {run.get("repeats", "")} × {run.get("seconds", 0):g} s. Load average before it '
            f'{run.get("load", "")}'
            + ('.' if others is None else f'; other work used {others:.0f} % of a core meanwhile.'))


def table(all_rows):
    out = ['| figure | grapnel | spread | goal | at worst | | floor | prosody | ejabberd |',
           '|---|--:|--:|--:|--:|---|--:|--:|--:|']
    for row in all_rows:
        bold = '**' if row.values['grapnel'] is not None else ''
        out.append(f'| {row.name} | {bold}{row.cell("grapnel", row.unit)}{bold} | {row.spread_text()} | '
                   f'{shown(row.goal)} | {shown(row.worst)} | {row.state} | '
                   + ' | '.join(row.cell(s) for s in SERVERS[1:]) + ' |')
    return out


def flat_table(data):
    out = []
    for what, large, small in (('sessions', '10 000', '100'), ('roster', '1000', '10'),
                               ('accounts', '1 000 000', '1000')):
        pair = data.get('detail', {}).get(f'flat {what}')
        failed = data['servers'].get('grapnel', {}).get(f'flat_{what}', {}).get('failed')
        if pair and pair['large'] and pair['small'] and not failed:
            out.append(f'| {what} | {small} | {shown(pair["small"]["cpu_us"])} | {large} | '
                       f'{shown(pair["large"]["cpu_us"])} |')
    if out:
        out = ['', '## Flat cost', '',
               'The same chat over TLS, µs of CPU per message. The two of a line are measured alike and in turns: '
               'sessions, 100 chat and the others are idle; roster, 100 sessions; accounts, 1000 sessions.',
               '', '| | few | µs | many | µs |', '|---|--:|--:|--:|--:|'] + out
    return out


def soak_table(data):
    """What tests/bench/soak.py found, by build."""
    out = []
    for build, r in sorted(data.get('soak', {}).items()):
        wrong = r['lost'] + r['unanswered'] + r['repeated'] + r['reordered'] + r['bounced'] + r['sessions_lost']
        pauses = [f'{shown(r[k]["p99"] / 1000)} / {shown(r[k]["max"] / 1000)}' for k in ('prepare_us', 'change_over_us')]
        out.append(f'| {build} | {r["date"]} | {r["loops"]} | {r["reloads"]} x {r["modules"]} | {shown(r["rate"])} | '
                   f'{shown(r["sent"])} | {wrong} | {" | ".join(pauses)} | {shown(r["p99_us"] / 1000)} | '
                   f'{shown(r["kb"][0])} → {shown(r["kb"][-1])} | {"yes" if r["ok"] else "**no**"} |')
    if out:
        out = ['', '## Reload under fire', '',
               '`make soak`: all shipped modules are replaced by new files, and options change, again and again while '
               'sessions chat. Wrong: stanzas lost, unanswered, repeated, reordered or bounced, and sessions that '
               'ended. Pauses are those of the loop that stood still longest, p99 / max of the reloads.', '',
               '| build | date | loops | reloads x modules | stanzas/s | sent | wrong | prepare, ms | change over, ms | '
               'stanza p99, ms | memory after a tenth → at the end, KB | clean end |',
               '|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|'] + out
    return out


def notes(path):
    """What is written by hand in the page as it is."""
    if os.path.exists(path):
        with open(path, encoding='utf-8') as f:
            text = f.read()
        if MARK not in text:
            raise ValueError(f'{path} has no line "{MARK}": what is written there would be lost')
        return text.split(MARK, 1)[1].split(END, 1)[0]
    return '\n'


def write(data):
    docs = os.path.dirname(b.RESULTS)
    path = os.path.join(docs, 'performance.md')
    run, all_rows = data['runs'][data['last']], rows(data)
    out = ['# Performance', '',
           'What a session, a login and a message cost, next to what they must cost at least. Generated by '
           '`make bench`; only the notes at the end are written by hand.', '', introduction(run), '']
    out += table(all_rows)
    stale = older(data)
    if stale:
        out += [''] + [line + '.\n' for line in stale]
    out += flat_table(data) + soak_table(data)
    out += ['', '## Plots', '', 'The dashed line is the goal.', '']
    for row in all_rows:
        if row.figure in PLOTS and row.values['grapnel'] is not None:
            plot(os.path.join(docs, f'performance-{row.figure}.svg'), row.name, row.unit,
                 list(row.values.items()), row.goal)
            out.append(f'![{row.name}](performance-{row.figure}.svg)')
    method = METHOD.format(sessions=run.get('sessions', suite.SESSIONS), chatters=suite.CHATTERS,
                           group=suite.GROUP, messages=shown(suite.MESSAGES), away=suite.AWAY, body=suite.BODY,
                           rate=shown(suite.RATE), archived=shown(suite.ARCHIVED))
    out += ['', method, MARK + notes(path) + END, '']
    with open(path + '.new', 'w', encoding='utf-8') as f:
        f.write('\n'.join(out))
    os.replace(path + '.new', path)
