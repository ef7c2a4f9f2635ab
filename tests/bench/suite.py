"""tests/bench/suite.py: the measurements. Each takes a server that stands (or starts its own) and returns plain
figures; the names are those of budgets.py."""
import json
import os
import re
import subprocess
import threading
import time

import benchlib as b

SESSIONS, CHATTERS, GROUP = min(10000, b.FILES - 500), 1000, 20


def seconds():
    return float(os.environ.get('BENCH_SECONDS', '4'))


def repeats():
    return int(os.environ.get('BENCH_REPEAT', '3'))


class Target:
    """A server under the common load. start(kind): a fresh one, for 'plain' or 'tls'."""

    def __init__(self, name, start, raw=False, sessions=SESSIONS, settle=2, friends=CHATTERS, **options):
        self.name, self.start, self.raw = name, start, raw
        self.friends = friends        # accounts that have contacts
        self.sessions, self.settle, self.options = sessions, settle, options
        self.server, self.kind = None, None
        self.figures, self.detail = {}, {}

    def fresh(self, kind):
        self.stop()
        self.server, self.kind = self.start(kind), kind

    def stop(self):
        if self.server is not None:
            self.server.stop()
        self.server = None

    def load(self, scenario, **options):
        if self.server is None:
            return None
        tls = 'none' if self.kind == 'plain' else 'direct' if self.raw else 'starttls'
        more = {'raw': True} if self.raw else {}
        return b.load(self.server, scenario, tls, **more, **{**self.options, **options})

    def note(self, figure, result, key='cpu_us'):
        if result is not None and key in result:
            self.figures[figure], self.detail[figure] = result[key], result
            print(f'  {figure:11} {self.name:9} {result[key]:10.2f}'
                  + (f'  (spread {100 * result["spread"]:.0f} %)' if 'spread' in result else ''),
                  flush=True)


def taking_turns(targets, figure, scenario, key='cpu_us', **options):
    """Repeats go round the servers, so that what else the machine does hits all of them."""
    runs = {t.name: [] for t in targets}
    for _ in range(repeats()):
        for t in targets:
            more = {'sessions': t.friends} if scenario == 'presence' else {}
            runs[t.name].append(t.load(scenario, **{**options, **more}))
    for t in targets:
        done = iter(runs[t.name])
        t.note(figure, b.repeat(len(runs[t.name]), lambda d=done: next(d), key), key)


def common(targets, parts):
    for kind in ('plain', 'tls'):
        for t in targets:
            t.fresh(kind)
            if 'idle' in parts:
                t.note(f'idle_{kind}', t.load('idle', sessions=t.sessions, duration=seconds() * 2,
                                              settle=t.settle, timeout=900), 'anon_per_session')
            if kind == 'tls' and 'idle_tls' in t.detail:
                t.note('idle_cpu', t.detail['idle_tls'], 'idle_cpu_percent')
        if 'chat' in parts:
            taking_turns(targets, f'chat_{kind}', 'chat', sessions=CHATTERS, duration=seconds(),
                         settle=2, timeout=300)
    if 'login' in parts:             # of accounts without contacts
        taking_turns(targets, 'login', 'login', 'login_cpu_us', first=CHATTERS, sessions=1000,
                     settle=0)
    if 'presence' in parts:
        taking_turns(targets, 'presence', 'presence', group=GROUP, settle=3, duration=seconds())


def offline(results, name, server, messages, away, **options):
    """Messages to `away` accounts behind the ones that log in, then their delivery."""
    mine = results.setdefault(name, {})
    kept = b.load(server, 'offline', sessions=100, messages=messages, to_first=1000, to_count=away,
                  duration=180, no_presence=True, **options)
    drained = b.load(server, 'drain', first=1000, sessions=away, messages=messages, duration=120,
                     expect=False, settle=0, **options)
    results.setdefault(name + '_detail', {}).update({'offline': kept, 'drain': drained})
    if kept is None or drained is None or drained['missing'] > 0 or kept['refused'] > 0:
        print(f'  offline: messages are missing: {kept} {drained}')
        return
    mine['offline'], mine['drain'] = kept['cpu_us'], drained['cpu_us']
    print(f'  offline {name}: {kept["cpu_us"]:.1f} us kept, {kept["units_per_s"]:.0f}/s; drained '
          f'{drained["cpu_us"]:.1f} us', flush=True)


def durable(name, rate, duration):
    argv = [os.path.join(b.PROGRAMS, 'store_cost'), b.data_dir(name), str(rate), str(duration)]
    p = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    return json.loads(p.stdout) if p.returncode == 0 else None


def second_loop():
    """How much more a second loop carries: the busiest loop's time per message is what bounds it; one loop and two
    in turns. Both loops and the load share two cores here, so throughput itself would not show it."""
    data, other = b.data_dir('loops'), b.data_dir('loop')
    b.mkusers(data, 0, CHATTERS)
    b.mkusers(other, 0, CHATTERS)
    two = b.grapnel(data, loops=2, cpus=f'{b.SERVER_CPU},{b.LOAD_CPU}')
    one = b.grapnel(other, port=15226)
    runs = [[b.load(s, 'chat', sessions=CHATTERS, duration=seconds()) for s in (one, two)]
            for _ in range(b_repeats())]
    one.stop()
    two.stop()
    runs = [r for r in runs if None not in r]
    if not runs:
        return None
    a, z = (b.median([r[i]['busiest_us'] for r in runs]) for i in (0, 1))
    return {'factor': a / z, 'one_us': a, 'two_us': z}


def b_repeats():
    return max(repeats(), 3)


def start_time(accounts):
    """From exec to the first connection that is accepted, with that many accounts and waiting messages, pages
    cached and not."""
    data = b.data_dir('million')
    b.mkusers(data, 0, accounts)
    b.mkusers(data, 0, accounts // 10, 'messages=10', 'accounts=no')
    out = {'database_bytes': os.path.getsize(os.path.join(data, 'data.mdb'))}
    times = []
    for _ in range(3):
        server = b.grapnel(data, wait=120)
        times.append(server.start_seconds)
        server.stop()
    out['seconds'] = b.median(times)
    few = b.data_dir('few')
    b.mkusers(few, 0, CHATTERS)
    for name, where, port in (('chat', data, 15222), ('chat_few', few, 15226)):
        server = b.grapnel(where, port, wait=120)
        out[name] = b.repeat(repeats(), lambda s=server: b.load(s, 'chat', sessions=CHATTERS,
                                                                duration=seconds()))
        server.stop()
    return out


def flat():
    """The same chat with few and many sessions, and with small and large rosters."""
    out = {}
    data = b.data_dir('flat')
    b.mkusers(data, 0, SESSIONS, 'roster=10')
    b.mkusers(data, 20000, 1000, 'roster=1000')
    server = b.grapnel(data)
    for name, options in (('sessions_100', {'sessions': 100}),
                          ('sessions_10000', {'sessions': SESSIONS, 'active': 100}),
                          ('roster_10', {'sessions': 100}),
                          ('roster_1000', {'sessions': 100, 'first': 20000})):
        if name == 'roster_10':
            out[name] = out.get('sessions_100')
            continue
        r = b.repeat(repeats(), lambda o=options: b.load(server, 'chat', duration=seconds(), settle=2,
                                                         timeout=400, **o))
        out[name] = r['cpu_us'] if r else None
        print(f'  flat {name}: {out[name]}', flush=True)
    server.stop()
    return out


def storm(server):
    """Chats at a modest rate while accounts log in as fast as they can: the server is full."""
    out = {}
    for mech in ('SCRAM-SHA-1', 'PLAIN'):
        r = b.load(server, 'storm', sessions=200, rate=1000, duration=seconds() * 2, parallel=40,
                   to_first=5000, to_count=2000, mech=mech)
        if r is not None:
            out[mech] = r
            print(f'  storm {mech}: p99 {r["p99_us"] / 1000:.2f} ms, {r["units_per_s"]:.0f} logins/s',
                  flush=True)
    return out


def reload_pause(server):
    """The slowest chat while the server reloads, against the slowest without."""
    results = {}

    def chat(key):
        results[key] = b.load(server, 'chat', sessions=200, rate=2000, duration=6)

    chat('still')
    t = threading.Thread(target=chat, args=('reloading',))
    t.start()
    time.sleep(3)
    took = []
    for _ in range(5):
        start = time.monotonic()
        p = subprocess.run([os.path.join(b.BUILD, 'grapnelctl'), '--config', server.ini, 'reload'],
                           capture_output=True, text=True, check=False)
        if p.returncode == 0:
            took.append(time.monotonic() - start)
        time.sleep(0.5)
    t.join()
    if not results.get('still') or not results.get('reloading') or not took:
        return None
    return {'reload_ms': 1000 * b.median(took), 'max_ms': results['reloading']['max_us'] / 1000,
            'p999_ms': results['reloading']['p999_us'] / 1000,
            'still_max_ms': results['still']['max_us'] / 1000,
            'still_p999_ms': results['still']['p999_us'] / 1000}


def hook_cost():
    argv = ['taskset', '-c', b.LOAD_CPU, os.path.join(b.PROGRAMS, 'hook_cost'), 'json']
    p = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, env=dict(
        os.environ, GRAPNEL_BUILD=b.BUILD, GRAPNEL_TEST_LOOPS='1'))
    return json.loads(p.stdout)


def instructions():
    """Name -> count, as callgrind.sh says them; None without valgrind."""
    p = subprocess.run([os.path.join(b.SRC, 'tests', 'bench', 'callgrind.sh')], capture_output=True,
                       text=True, timeout=300, check=False, env=dict(
                           os.environ, GRAPNEL_SRC=b.SRC, GRAPNEL_BUILD=b.BUILD))
    found = re.findall(r'^# (\d+) (instructions_\w+)', p.stdout, re.MULTILINE)
    return {name: int(count) for count, name in found} or None


def allocations():
    """Calls of malloc and bytes per chat, by preloading a counter."""
    data, out = b.data_dir('alloc'), os.path.join(b.TMP, 'alloc.txt')
    b.mkusers(data, 0, 200)
    env = {'LD_PRELOAD': os.path.join(b.PROGRAMS, 'preload_alloc.so'), 'BENCH_ALLOC': out}
    server = b.grapnel(data, env=env)

    def read():
        if os.path.exists(out):
            os.unlink(out)
        subprocess.run(['kill', '-RTMIN+1', str(server.process.pid)], check=True)
        for _ in range(100):
            if os.path.exists(out) and os.path.getsize(out) > 0:
                break
            time.sleep(0.02)
        with open(out, encoding='ascii') as f:
            return [int(x) for x in f.read().split()]

    results = {}

    def chat():
        results['r'] = b.load(server, 'chat', sessions=200, rate=2000, warmup=1, duration=8)

    t = threading.Thread(target=chat)
    t.start()
    time.sleep(4)
    read()
    start = time.monotonic()
    time.sleep(4)
    calls, size, _ = read()
    took = time.monotonic() - start
    t.join()
    server.stop()
    r = results.get('r')
    if not r:
        return None
    n = r['units_per_s'] * took
    return {'calls_per_message': calls / n, 'bytes_per_message': size / n}
