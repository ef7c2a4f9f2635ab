"""tests/bench/suite.py: the measurements. Each takes a server that stands (or starts its own) and returns plain
figures; the names are those of budgets.py."""
import json
import os
import re
import statistics
import subprocess
import threading
import time

import benchlib as b

SESSIONS, CHATTERS, GROUP = min(10000, b.FILES - 500), 1000, 20
ACCOUNTS = 1000000
FLUSH_FILE = 8 << 20


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


class Suite:
    """Measures and notes, in `results` (benchlib.Results)."""

    def __init__(self, results):
        self.results = results

    def note(self, server, figure, result, key='cpu_us'):
        """A figure that is one of those the load engine gave."""
        if result is None or key not in result:
            return
        self.results.note(server, figure, result[key], result.get('spread'))
        self.results.detail(f'{figure} {server}', result)
        spread = result.get('spread')
        print(f'  {figure:21} {server:9} {result[key]:10.2f}'
              + ('' if spread is None else f'  (spread {100 * spread:.0f} %)'), flush=True)

    def taking_turns(self, targets, figure, scenario, key='cpu_us', **options):
        def job(t):
            more = {'sessions': t.friends} if scenario == 'presence' else {}
            return lambda: t.load(scenario, **{**options, **more})
        for name, runs in b.in_turns(repeats(), {t.name: job(t) for t in targets}).items():
            self.note(name, figure, b.lowest(runs, key), key)

    def common(self, targets, parts):
        for kind in ('plain', 'tls'):
            for t in targets:
                t.fresh(kind)
                if 'idle' in parts:
                    r = t.load('idle', sessions=t.sessions, duration=seconds() * 2, settle=t.settle,
                               timeout=900)
                    self.note(t.name, f'idle_{kind}', r, 'anon_per_session')
                    if kind == 'tls':
                        self.note(t.name, 'idle_cpu', r, 'idle_cpu_percent')
            if 'chat' in parts:
                self.taking_turns(targets, f'chat_{kind}', 'chat', sessions=CHATTERS, settle=2,
                                  duration=seconds(), timeout=300)
        if 'login' in parts:             # of accounts without contacts
            self.taking_turns(targets, 'login', 'login', 'login_cpu_us', first=CHATTERS,
                              sessions=1000, settle=0)
        if 'presence' in parts:
            self.taking_turns(targets, 'presence', 'presence', group=GROUP, settle=3,
                              duration=seconds())

    def offline(self, name, server, messages, away):
        """Messages to `away` accounts behind the ones that log in, then their delivery."""
        kept = b.load(server, 'offline', sessions=100, messages=messages, to_first=1000,
                      to_count=away, duration=180, no_presence=True)
        drained = b.load(server, 'drain', first=1000, sessions=away, messages=messages, duration=120,
                         expect=False, settle=0)
        if kept is None or drained is None or drained['missing'] > 0 or kept['refused'] > 0:
            print(f'  offline: messages are missing: {kept} {drained}')
            return
        self.note(name, 'offline', kept)
        self.note(name, 'drain', drained)

    def durable(self):
        most, paced = durable('most', 0, 5), durable('paced', 10000, 5)
        flush = flush_time(b.data_dir('flush'))
        self.results.detail('durable', {'most': most, 'paced': paced, 'flush_us': flush})
        if most:
            self.results.note('grapnel', 'durable_max', most['per_s'])
        if paced:
            self.results.note('grapnel', 'durable_p50', paced['p50_us'])
        self.results.note('floor', 'durable_p50', flush)

    def second_loop(self):
        """How much more two loops carry than one: CPU per message of the one loop against that of the busier of two.
        Both are given more than they can take, so that what one wake-up handles is as much for both; the lowest of
        several turns counts, as other work on the machine only ever adds."""
        data, other = b.data_dir('loops'), b.data_dir('loop')
        b.mkusers(data, 0, CHATTERS)
        b.mkusers(other, 0, CHATTERS)
        servers = {'one': b.grapnel(other, port=b.PORT + 4),
                   'two': b.grapnel(data, loops=2, cpus=f'{b.SERVER_CPU},{b.LOAD_CPU}')}
        jobs = {k: lambda s=s: b.load(s, 'chat', sessions=CHATTERS, duration=seconds())
                for k, s in servers.items()}
        runs = {k: [r for r in v if r] for k, v in b.in_turns(repeats() + 3, jobs).items()}
        for s in servers.values():
            s.stop()
        if runs['one'] and runs['two']:
            one, two = (min(runs[k], key=lambda r: r['busiest_us']) for k in ('one', 'two'))
            factor = {'factor': one['busiest_us'] / two['busiest_us'],
                      'spread': b.ratio(runs['one'], runs['two'], 'busiest_us')['spread']}
            self.note('grapnel', 'second_loop', factor, 'factor')
            self.results.detail('second_loop', {'one': one, 'two': two})

    def start_time(self):
        """From exec until a client is logged in, with a million accounts and waiting messages: nothing in the page
        cache, and everything. Then whether chat notices how many accounts there are."""
        data, few = b.data_dir('million'), b.data_dir('few')
        b.mkusers(data, 0, ACCOUNTS)
        b.mkusers(data, 0, ACCOUNTS // 10, 'messages=10', 'accounts=no')
        b.mkusers(few, 0, CHATTERS)

        def start(cold):
            if cold:
                b.drop_caches(data)
            server = b.grapnel(data, wait=120)
            r = b.load(server, 'login', first=ACCOUNTS // 2, sessions=1, settle=0)
            server.stop()
            return r and {'seconds': server.start_seconds + r['first_ready_ms'] / 1000,
                          'listening': server.start_seconds}
        runs = b.in_turns(repeats(), {'start_cold': lambda: start(True),
                                      'start_warm': lambda: start(False)})
        for figure, done in runs.items():
            self.note('grapnel', figure, b.lowest(done, 'seconds'), 'seconds')
        servers = {'large': b.grapnel(data, wait=120), 'small': b.grapnel(few, b.PORT + 4)}
        self.flat('accounts', {k: (s, {'sessions': CHATTERS}) for k, s in servers.items()})
        for server in servers.values():
            server.stop()

    def flat(self, what, pair):
        """pair: {'large'|'small': (server, options)}."""
        def job(server, options):
            return lambda: b.load(server, 'chat', duration=seconds(), settle=2, timeout=400, **options)
        runs = b.in_turns(repeats(), {k: job(*v) for k, v in pair.items()})
        self.note('grapnel', f'flat_{what}', b.ratio(runs['large'], runs['small']), 'factor')
        self.results.detail(f'flat {what}', {k: b.lowest(v) for k, v in runs.items()})

    def flat_sizes(self):
        """The same chat with few and many sessions, and with small and large rosters."""
        data = b.data_dir('flat')
        b.mkusers(data, 0, SESSIONS, 'roster=10')
        b.mkusers(data, 20000, 1000, 'roster=1000')
        server = b.grapnel(data)
        few = (server, {'sessions': 100})
        self.flat('sessions', {'large': (server, {'sessions': SESSIONS, 'active': 100}), 'small': few})
        self.flat('roster', {'large': (server, {'sessions': 100, 'first': 20000}), 'small': few})
        server.stop()

    def storm(self, server):
        """Chats at a modest rate while accounts log in as fast as they can: the server is full."""
        runs = {}
        for mech in ('SCRAM-SHA-1', 'PLAIN'):
            runs[mech] = b.load(server, 'storm', sessions=200, rate=1000, duration=seconds() * 2,
                                parallel=40, to_first=5000, to_count=2000, mech=mech)
        if None not in runs.values():
            self.results.detail('storm', runs)
            self.note('grapnel', 'storm_p99', max(runs.values(), key=lambda r: r['p99_us']), 'p99_us')

    def reload(self, server):
        r = reload_pause(server)
        self.note('grapnel', 'reload_ms', r, 'reload_ms')

    def hooks(self):
        r = hook_cost()
        self.note('grapnel', 'hook_empty', r, 'empty_ns')
        self.note('grapnel', 'hook_run_empty', r, 'empty_run_ns')
        self.note('grapnel', 'hook_ten', r, 'ten_ns')

    def alloc(self):
        self.note('grapnel', 'allocations', allocations(), 'calls_per_message')

    def instructions(self):
        r = instructions()
        self.note('grapnel', 'instructions', r, 'instructions_per_message')
        self.note('grapnel', 'instructions_presence', r, 'instructions_per_presence_delivery')


def durable(name, rate, duration):
    argv = [os.path.join(b.PROGRAMS, 'store_cost'), b.data_dir(name), str(rate), str(duration)]
    p = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    return json.loads(p.stdout) if p.returncode == 0 else None


def flush_time(folder):
    """What the disk alone takes, in microseconds: the median of writing 4 to 64 KB over existing blocks of a file
    and fdatasync."""
    took = []
    with open(os.path.join(folder, 'flush'), 'wb') as f:
        fd = f.fileno()
        os.write(fd, bytes(FLUSH_FILE))
        os.fsync(fd)
        for i in range(500):
            data = bytes([i % 256]) * (4096 << i % 5)
            start = time.monotonic()
            os.pwrite(fd, data, i * (1 << 16) % FLUSH_FILE)
            os.fdatasync(fd)
            took.append(1e6 * (time.monotonic() - start))
    return statistics.median(took)


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
    return {'reload_ms': 1000 * statistics.median(took), 'max_ms': results['reloading']['max_us'] / 1000,
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
