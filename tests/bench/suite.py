"""tests/bench/suite.py: the measurements. Each takes a server that stands (or starts its own) and returns plain
figures; the names are those of budgets.py."""
import json
import os
import re
import shutil
import statistics
import subprocess
import threading
import time
from functools import partial

import benchlib as b

SESSIONS, CHATTERS, GROUP = min(10000, b.FILES - 500), 1000, 20
ACCOUNTS = ARCHIVED = 1000000
MESSAGES, AWAY = 20000, 1000     # stored, and for how many accounts
RATE, BODY = 10000, 200          # chat at a rate, per second; bytes of each message
WARM = 8                         # seconds of chat into an archive, before it is measured


def seconds():
    return float(os.environ.get('BENCH_SECONDS', '3'))


def repeats():
    return int(os.environ.get('BENCH_REPEAT', '4'))


class Target:
    """A server under the common load. start(kind): a fresh one, for 'plain' or 'tls', for 'sm', with stream
    management, or for 'archive', with both. peer: has fewer repeats. store: the folder it writes to."""

    def __init__(self, name, start, raw=False, peer=False, sessions=SESSIONS, settle=2, friends=CHATTERS,
                 store=None, **options):
        self.name, self.start, self.raw, self.peer, self.store = name, start, raw, peer, store
        self.friends = friends        # accounts that have contacts
        self.sessions, self.settle, self.options = sessions, settle, options
        self.server, self.kind = None, None

    def fresh(self, kind):
        self.stop()
        self.kind = kind
        try:
            self.server = self.start(kind)
        except OSError as e:
            b.fail(str(e))

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

    def chat(self, **options):
        """At a rate: that was kept, within a tenth."""
        r = self.load('chat', sessions=CHATTERS, settle=2, duration=seconds(), body=BODY, **options)
        if r and r['units_per_s'] < 0.9 * options.get('rate', 0):
            return b.fail(f'chat, {self.name}: {r["units_per_s"]:.0f}/s, not {options["rate"]}')
        return r

    def archived_chat(self, **options):
        """Of every message there are two copies on the disk afterwards."""
        before = b.folder_size(self.store)
        r = self.chat(resume=True, **options)
        grown = b.folder_size(self.store) - before
        if r and grown < 2 * BODY * r['units']:
            return b.fail(f'chat, {self.name}: {r["units"]:.0f} messages, but {grown} bytes in the archive')
        return r


class Suite:
    """Measures and notes, in `results` (benchlib.Results)."""

    def __init__(self, results):
        self.results = results

    def note(self, server, figure, result, key='cpu_us'):
        """A figure that is one of those the load engine gave; None: it failed."""
        value = result and result.get(key)
        if value is None:
            self.results.note(server, figure, None)
            b.fail(f'{figure}, {server}: no run succeeded')
            return
        spread, dropped = result.get('spread'), result.get('dropped')
        self.results.note(server, figure, value, spread=spread, dropped=dropped)
        self.results.detail(f'{figure} {server}', result)
        print(f'  {figure:21} {server:9} {value:10.2f}'
              + ('' if spread is None else f'  (spread {100 * spread:.0f} %)')
              + (f'  ({dropped} failed)' if dropped else ''), flush=True)

    def taking_turns(self, jobs, key='cpu_us'):
        """jobs: {(figure, target): what measures it}."""
        peers = {(figure, t) for figure, t in jobs if t.peer}
        for (figure, t), runs in b.in_turns(repeats(), jobs, peers).items():
            self.note(t.name, figure, b.lowest(runs, key), key)

    def common(self, targets, parts):
        for kind in ('plain', 'tls'):
            for t in targets:
                t.fresh(kind)
                if 'idle' in parts:
                    self.idle(t, kind)
            if 'chat' in parts:
                self.taking_turns({(f'chat_{kind}', t): t.chat for t in targets})
        if 'login' in parts:
            self.logins(targets)
        if 'presence' in parts:
            self.taking_turns({('presence', t): partial(t.load, 'presence', sessions=t.friends, group=GROUP,
                                                        settle=3, duration=seconds()) for t in targets})
        servers = [t for t in targets if not t.raw]
        if 'offline' in parts:
            for t in servers:
                self.offline(t)
        for t in servers if 'idle' in parts else []:
            t.fresh('sm')
            self.idle(t, 'sm', resume=True)

    def idle(self, target, kind, **options):
        r = target.load('idle', sessions=target.sessions, duration=seconds() * 2, settle=target.settle,
                        timeout=900, **options)
        self.note(target.name, f'idle_{kind}', r, 'anon_per_session')
        if kind == 'tls':
            self.note(target.name, 'idle_cpu', r, 'idle_cpu_percent')

    def logins(self, targets):
        """Of accounts without contacts."""
        def jobs(scenario, servers, **options):
            return {(scenario, t): partial(t.load, scenario, first=CHATTERS, sessions=1000, settle=0, **options)
                    for t in servers}
        ours = [t for t in targets if not t.peer and not t.raw]
        self.taking_turns(jobs('login', targets), 'login_cpu_us')
        self.taking_turns({**jobs('login_fast', ours), **jobs('login_resumed', ours, tls_resume=True)}, 'login_cpu_us')

    def paced(self, targets, archives):
        """Chat at one rate, bare, with stream management, and with the archive as well; the peers, which cannot carry
        it on one core, as fast as they can."""
        jobs = {}
        for t in targets:
            t.fresh('tls' if t.raw else 'sm')
            jobs['chat_paced', t] = partial(t.chat, rate=RATE)
            if not t.raw:
                jobs['chat_sm', t] = partial(t.chat, rate=RATE, resume=True)
        for t in archives:
            t.fresh('archive')
            # An account's first message of a day costs Prosody ten times as much, for its list of archives to clean.
            t.load('chat', sessions=CHATTERS, settle=0, duration=WARM, resume=True)
            jobs['chat_sm_archive', t] = partial(t.archived_chat, **({} if t.peer else {'rate': RATE}))
        self.taking_turns(jobs)

    def offline(self, target):
        """Messages to accounts that are away, then their delivery, less what the same logins cost without any."""
        def once():
            kept = target.load('offline', sessions=100, messages=MESSAGES, to_first=CHATTERS, to_count=AWAY,
                               duration=180, no_presence=True)
            drained = target.load('drain', first=CHATTERS, sessions=AWAY, messages=MESSAGES, duration=120,
                                  settle=0)
            bare = target.load('login', first=CHATTERS, sessions=AWAY, settle=0)
            return kept, drained, bare
        start, runs = time.monotonic(), []
        while len(runs) < repeats() and (not runs or time.monotonic() - start < 20):
            runs.append(once())
        kept, drained, bare = ([r[i] for r in runs] for i in range(3))
        self.note(target.name, 'offline', b.lowest(kept))
        drained, bare = b.lowest(drained), b.lowest(bare, 'login_cpu_us')
        if drained and bare:
            drained['less_login_us'] = drained['cpu_us'] - bare['login_cpu_us'] * AWAY / MESSAGES
        self.note(target.name, 'drain', drained, 'less_login_us')

    def archive(self):
        """Pages of a large archive, where reading them costs most, and whether the memory grows by them."""
        r = mam_cost()
        for figure, contact in ('archive_page', False), ('archive_contact', True):
            place = r and max((p for p in r['places'] if p['contact'] == contact), key=lambda p: p['lowest_us'])
            self.note('grapnel', figure, place and dict(
                place, spread=place['highest_us'] / place['lowest_us'] - 1 if repeats() > 1 else None), 'lowest_us')
        self.note('grapnel', 'archive_memory', r and dict(r, grown=1024 * (r['after_kib'] - r['before_kib'])), 'grown')

    def durable(self):
        if subprocess.run(['stat', '-f', '-c', '%T', b.TMP], capture_output=True, text=True,
                          check=False).stdout.strip() == 'tmpfs':
            print(f'  {b.TMP} is in memory (tmpfs): durable says nothing about a disk; set TMPDIR')
        runs = b.in_turns(repeats(), {'most': lambda: store_cost(0), 'paced': lambda: store_cost(10000)})
        self.note('grapnel', 'durable_max', b.lowest(runs['most'], 'per_s', best=max), 'per_s')
        self.note('grapnel', 'durable_p50', b.lowest(runs['paced'], 'p50_us'), 'p50_us')
        self.note('floor', 'durable_p50', b.lowest(runs['paced'], 'floor_us'), 'floor_us')

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
        runs = b.in_turns(repeats() + 2, jobs)
        for s in servers.values():
            s.stop()
        self.note('grapnel', 'second_loop', b.ratio(runs['one'], runs['two'], 'busiest_us'), 'factor')
        self.results.detail('second_loop', {k: b.lowest(v, 'busiest_us') for k, v in runs.items()})

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
        def job(mech):
            return lambda: b.load(server, 'storm', sessions=200, rate=1000, duration=seconds(), parallel=40,
                                  to_first=5000, to_count=2000, mech=mech)
        runs = b.in_turns(repeats(), {mech: job(mech) for mech in ('SCRAM-SHA-1', 'PLAIN')})
        runs = {mech: b.lowest(r, 'p99_us') for mech, r in runs.items()}
        self.results.detail('storm', runs)
        worst = None if None in runs.values() else max(runs.values(), key=lambda r: r['p99_us'])
        self.note('grapnel', 'storm_p99', worst, 'p99_us')

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


def store_cost(rate):
    argv = [os.path.join(b.PROGRAMS, 'store_cost'), b.data_dir('durable'), str(rate), str(seconds())]
    p = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    return json.loads(p.stdout) if p.returncode == 0 else b.fail(f'store_cost failed: {p.stderr[-600:]}')


def mam_cost():
    data = b.data_dir('pages')
    argv = ['taskset', '-c', b.SERVER_CPU, os.path.join(b.PROGRAMS, 'mam_cost'), data, str(ARCHIVED),
            str(repeats()), 'json']
    p = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False, env=dict(
        os.environ, GRAPNEL_BUILD=b.BUILD, GRAPNEL_TEST_LOOPS='1'))
    shutil.rmtree(data)
    return json.loads(p.stdout) if p.returncode == 0 else b.fail(f'mam_cost failed: {p.stderr[-600:]}')


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
    """Name -> count, as callgrind.sh says them; None when route_cost fails."""
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
